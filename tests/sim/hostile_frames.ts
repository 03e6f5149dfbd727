/**
 * The frames that a hostile peer of the simulation can send: legal frames, which
 * lead deep into a connection's states, and breaches of the rules.
 *
 * A "legal" frame is legal in the state that the peer has seen; a peer does not
 * always look at the state.
 *
 * @module
 */

import { MAX_GOAWAYS } from "../../src/connection/shutdown.ts";
import { MAX_IDLE } from "../../src/streams/stream_table.ts";
import type { Random } from "../support/random.ts";
import {
  CALLER,
  connectionCredit,
  credit,
  data,
  end,
  failure,
  frame,
  goaway,
  hello,
  KIND,
  last,
  reply,
  request,
  stop,
  warning,
  window,
} from "../support/raw_peer.ts";

/** A call between a hostile peer and the real side, as the hostile peer sees it. */
export interface WireCall {
  readonly id: number;
  /** Whether its params, or its result, are a stream that has started. */
  params: boolean;
  result: boolean;
}

/** What a hostile peer knows when it sends a frame. */
export interface Situation {
  readonly random: Random;
  /** The latest id it used. */
  lastId: number;
  /** Its own calls without a reply, and those of the real side. */
  readonly made: Map<number, WireCall>;
  readonly asked: Map<number, WireCall>;
  /** The latest ids of its own calls, and of those of the real side. */
  readonly madeIds: number[];
  readonly askedIds: number[];
  /** Frames that it has sent. */
  readonly said: Uint8Array[];
  /** How many streams it may open; 0 until it has read the HELLO. */
  readonly maxStreams: number;
  /** The number of its next WINDOW; 0 while it may not send one. */
  nextWindow: number;
  /** Whether the real side keeps results. */
  readonly keepsResults: boolean;
  /** What its HELLO grants. */
  readonly hello: Parameters<typeof hello>[0];
}

/** Makes frames, in the order in which they are sent. */
type Say = (s: Situation) => readonly Uint8Array[];

const STREAM = [5];
const NAMES = [
  "now",
  "soon",
  "wait",
  "wait",
  "late",
  "deaf",
  "crash",
  "fail",
  "down",
  "down",
  "endless",
  "checked",
  "strict",
  "back",
  "bye",
  "big",
  "none",
].map((name) => `T.${name}`).concat("Line.a", "Line.b", "Keyed.a");
const STREAMED = ["T.up", "T.up", "T.both", "T.now", "T.wait", "T.none"];

/** Bytes as one array. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function value(random: Random): readonly number[] {
  const json = (text: string) => [1, ...new TextEncoder().encode(text)];
  return random.pick([
    [0],
    json("7"),
    json('{"a":[1,2]}'),
    json("{"),
    [2, 1, 2, 3],
    [3, 0x61, 0x62],
    [3, 0xff],
    [4, 1],
  ]);
}

/** The id of a call that is or was in flight; any number if there was none. */
function idOf(s: Situation, calls: Map<number, WireCall>, ids: number[]) {
  const { random } = s;
  const live = [...calls.keys()];
  if (live.length > 0 && !random.oneIn(4)) return random.pick(live);
  if (ids.length > 0) return random.pick(ids);
  return random.pick([0, 1, 2, 0xffffffff]);
}

const ours = (s: Situation) => idOf(s, s.made, s.madeIds);
const theirs = (s: Situation) => idOf(s, s.asked, s.askedIds);

function call(
  s: Situation,
  id: number,
  name: string,
  payload: readonly number[],
) {
  const { random } = s;
  const remaining = random.oneIn(4)
    ? random.pick([0, 1, 50, 3000, 0xffffffff])
    : undefined;
  s.lastId = id >>> 0;
  return request(s.lastId, name, payload, remaining);
}

/** Entries of a block of references: legal ones, and breaches of its layout. */
const PATHS = [
  "[[],[]]",
  "[[],[]]",
  '[[],["a","1"]]',
  '[["a"],[]]',
  '[[],["__proto__"]]',
];
const WRONG = ["", "[[]]", "[[],[1]]", "{", `[[],["${"a".repeat(9000)}"]]`];

/** A call whose result is kept, or that refers to the results of others, or both. */
function dependent(s: Situation, name: string): Uint8Array {
  const { random } = s;
  const id = next(s);
  const references = s.madeIds.length === 0
    ? []
    : Array.from({ length: random.below(3) }, () =>
      [random.pick(s.madeIds), random.pick(PATHS)] as const).filter(([of]) =>
        ((id - of) | 0) > 0
      );
  const keep = references.length === 0 || random.oneIn(2);
  s.lastId = id;
  const json = (text: string) => [1, ...new TextEncoder().encode(text)];
  const payload = references.length > 0
    ? json(random.pick(["null", "null", '{"a":null}']))
    : value(random);
  const remaining = random.oneIn(6) ? random.pick([1, 50]) : undefined;
  return request(id, name, payload, remaining, { keep, references });
}

function next(s: Situation): number {
  const { random } = s;
  const gap = random.oneIn(20) ? random.pick([2, 1000, 0x7fffffff]) : 1;
  return (s.lastId + gap) >>> 0;
}

/** A block of trailers behind its length. */
const TRAILERS = [0, 5, 1, 0x61, 0, 1, 0x31];

/** The stream of a frame: id and flag. */
type Target = readonly [number, number];

/** A stream of a call that is or was in flight. */
function towards(s: Situation): Target {
  return s.random.oneIn(2) ? [ours(s), CALLER] : [theirs(s), 0];
}

/** Makes a frame for one of the calls for which it is legal, or none if there is no such call. */
function about(
  s: Situation,
  targets: readonly Target[],
  say: (id: number, flags: number) => readonly Uint8Array[],
): readonly Uint8Array[] {
  return targets.length > 0 ? say(...s.random.pick(targets)) : [];
}

const those = (
  calls: Map<number, WireCall>,
  flags: number,
  which: (call: WireCall) => boolean,
): Target[] => [...calls.values()].filter(which).map(({ id }) => [id, flags]);

/** The streams that a peer writes: params of its own calls, and results. */
const produced = (s: Situation) => [
  ...those(s.made, CALLER, ({ params }) => params),
  ...those(s.asked, 0, ({ result }) => result),
];
/** The streams that a peer reads. */
const read = (s: Situation) => [
  ...those(s.made, CALLER, ({ result }) => result),
  ...those(s.asked, 0, ({ params }) => params),
];
const unanswered = (s: Situation) => those(s.asked, 0, ({ result }) => !result);

/** Legal frames, with the weight of each in the random choice. */
export const LEGAL: readonly (readonly [string, number, Say])[] = [
  [
    "REQUEST",
    10,
    (s) =>
      s.made.size < 40
        ? [call(s, next(s), s.random.pick(NAMES), value(s.random))]
        : [],
  ],
  [
    "REQUEST with a stream",
    5,
    (s) =>
      produced(s).length < s.maxStreams
        ? [call(s, next(s), s.random.pick(STREAMED), STREAM)]
        : [],
  ],
  [
    "REQUEST of a dependent call",
    6,
    (s) =>
      s.made.size < 40 && s.keepsResults
        ? [dependent(s, s.random.pick(NAMES))]
        : [],
  ],
  [
    "RELEASE",
    3,
    (s) =>
      s.keepsResults && s.madeIds.length > 0
        ? [frame(KIND.RELEASE, s.random.pick(s.madeIds))]
        : [],
  ],
  [
    "REPLY",
    4,
    (s) => about(s, unanswered(s), (id) => [reply(id, value(s.random))]),
  ],
  [
    "REPLY with a stream",
    4,
    (s) =>
      about(s, produced(s).length < s.maxStreams ? unanswered(s) : [], (id) => [
        reply(id, STREAM),
      ]),
  ],
  ["ERROR", 2, (s) =>
    about(s, unanswered(s), (id) => [
      failure(id, "oh", "no", s.random.oneIn(2)),
    ])],
  [
    "CANCEL",
    5,
    (s) =>
      about(s, those(s.made, 0, () => true), (id) => [frame(KIND.CANCEL, id)]),
  ],
  ["PING", 2, (s) => [frame(KIND.PING, s.random.below(9))]],
  ["PONG", 1, (s) => [frame(KIND.PONG, s.random.below(9))]],
  ["PAD", 1, (s) => [frame(KIND.PAD, 7, s.random.bytes(9), 0xff)]],
  ["skippable", 1, (s) => [
    frame(s.random.between(0x80, 0xff), 7, s.random.bytes(9), 0xff),
  ]],
  [
    "DATA",
    9,
    (s) =>
      about(s, produced(s), (id, flags) => [data(id, value(s.random), flags)]),
  ],
  ["DATA with MORE", 2, (s) =>
    about(s, produced(s), (id, flags) => [
      data(id, [3, 0x61], flags | MORE),
      data(id, [3, 0x62], flags),
    ])],
  ["DATA with a message", 2, (s) =>
    about(s, produced(s), (id, flags) => [
      data(id, [6, 1], flags | MORE),
      data(id, [6], flags),
      data(id, [6], flags),
    ])],
  ["END with trailers", 1, (s) =>
    about(s, produced(s), (id, flags) => [
      frame(KIND.END, id, TRAILERS, flags | 4),
    ])],
  ["END", 3, (s) => about(s, produced(s), (id, flags) => [end(id, flags)])],
  [
    "END with ERROR",
    1,
    (s) => about(s, produced(s), (id, flags) => [end(id, flags, "oh", "no")]),
  ],
  ["STOP", 2, (s) => about(s, read(s), (id, flags) => [stop(id, flags)])],
  ["CREDIT", 5, (s) =>
    about(s, read(s), (id, flags) => [
      credit(id, s.random.pick([1, 100, 70_000]), flags),
    ])],
  [
    "CREDIT of the connection",
    2,
    (s) =>
      s.maxStreams > 0
        ? [connectionCredit(s.random.pick([1, 100, 70_000]))]
        : [],
  ],
  ["WINDOW", 3, (s) => {
    const id = s.nextWindow;
    if (id === 0) return [];
    s.nextWindow = 0;
    return [window(id, s.random.pick([0, 1, 64, 1000]), 0xffffffff)];
  }],
  [
    "GOAWAY",
    1,
    (s) =>
      s.random.oneIn(3)
        ? [goaway(s.askedIds.at(-1), s.random.pick(["", "", "oh"]), "going")]
        : [],
  ],
  // Legal unless a GOAWAY came before, or a REQUEST follows.
  ["a warning", 1, (s) => s.random.oneIn(3) ? [warning()] : []],
  ["LAST", 1, (s) => s.random.oneIn(5) ? [last(s.random.oneIn(5))] : []],
];

const MORE = 2;
/** Of a FRAGMENT: its message is given up. */
const ABORT = 2;

/** Changes some bits of a frame sent before. */
function flipped(s: Situation): Uint8Array {
  const { random, said } = s;
  const bytes = said.length > 0 ? said[said.length - 1] : hello(s.hello);
  const copy = Uint8Array.from(bytes);
  for (let i = random.between(1, 3); i > 0; i--) {
    copy[random.below(copy.length)] ^= 1 << random.below(8);
  }
  return copy;
}

/** A legal frame, chosen at random. */
function legal(s: Situation): Uint8Array {
  const [, , say] = s.random.pick(LEGAL);
  const parts = say(s);
  return parts.length > 0 ? concat(parts) : call(s, next(s), "T.wait", [0]);
}

/** A frame with a wrong length, kind, flags, reserved bits or body. */
function misshapen(s: Situation, change: (bytes: Uint8Array) => Uint8Array) {
  return [change(Uint8Array.from(legal(s)))];
}

function setLength(bytes: Uint8Array, length: number): Uint8Array {
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
}

/** Breaches of the rules, by name. */
export const BREACHES: readonly (readonly [string, Say])[] = [
  ["an id that does not increase", (s) => [
    call(
      s,
      s.random.pick([s.lastId, s.lastId - 1, s.lastId + 2 ** 31]),
      "T.wait",
      [0],
    ),
  ]],
  // Each id is larger than the one before; the last is the id of a call that may be in flight.
  ["an id that comes round", (s) => {
    const live = [...s.made.keys()];
    const id = live.length > 0 ? s.random.pick(live) : s.lastId;
    const steps = [id + 0x7fffffff, id + 0xfffffffe, id];
    return steps.filter((step) => ((step - s.lastId) | 0) > 0)
      .map((step) => call(s, step, "T.wait", [0]));
  }],
  ["ids that go round and round", (s) =>
    Array.from(
      { length: s.random.between(6, 40) },
      (_, i) =>
        call(s, s.lastId + (i % 3 === 2 ? 2 : 0x7fffffff), "T.wait", [0]),
    )],
  ["a WINDOW out of turn", (s) => [window(s.random.pick([0, 9999]), 5)]],
  ["a WINDOW that is not legal", (s) => [
    window(s.nextWindow, s.random.pick([5, 0x2000000]), 0),
  ]],
  ["an ACK of no WINDOW", () => [window(1, 5, 5, true)]],
  ["DATA past the credit of the connection", (s) => {
    const id = next(s);
    const item = [2, ...new Uint8Array(16_000)];
    return [
      call(s, id, "T.up", STREAM),
      ...Array.from({ length: 15 }, () => data(id, item, CALLER)),
    ];
  }],
  ["CREDIT of the connection for a stream", (s) => [
    frame(KIND.CREDIT, s.random.between(1, 9), [0, 0, 0, 1], 2),
  ]],
  ["an unknown kind", (s) =>
    misshapen(s, (bytes) => {
      bytes[4] = s.random.pick([0, 0x0a, 0x0f, 0x14, 0x7f]);
      return bytes;
    })],
  ["unknown flags", (s) =>
    misshapen(s, (bytes) => {
      bytes[5] |= s.random.pick([4, 8, 0x80]);
      return bytes;
    })],
  ["reserved bits", (s) =>
    misshapen(s, (bytes) => {
      bytes[6 + s.random.below(2)] = 1;
      return bytes;
    })],
  ["a length past the limit", (s) =>
    misshapen(
      s,
      (bytes) =>
        setLength(
          bytes,
          s.random.pick([200_000, 0x7fffffff, 0x80000000, 0xffffffff]),
        ),
    )],
  ["a body cut short", (s) =>
    misshapen(s, (bytes) => {
      const length = s.random.below(Math.max(1, bytes.length - 12));
      return setLength(bytes.slice(0, 12 + length), length);
    })],
  ["a body too long", (s) =>
    misshapen(
      s,
      (bytes) =>
        setLength(concat([bytes, s.random.bytes(3)]), bytes.length - 9),
    )],
  [
    "a frame that does not end",
    (s) => misshapen(s, (bytes) => setLength(bytes, bytes.length + 500)),
  ],
  ["flipped bits", (s) => [flipped(s)]],
  ["random bytes", (s) => [s.random.bytes(s.random.between(1, 200))]],
  ["another protocol", () => [
    new TextEncoder().encode("POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
  ]],
  ["a HELLO again, or of another kind", (s) => [
    s.random.pick([
      hello(s.hello),
      hello({ version: 2 }),
      hello({ maxMessage: 1 }),
      hello({ extra: [9, 0, 200] }),
    ]),
  ]],
  ["an answer to no call", (s) => [
    s.random.oneIn(2)
      ? reply((theirs(s) + 5) >>> 0, value(s.random))
      : failure((theirs(s) + 5) >>> 0, "oh", "no", true),
  ]],
  ["an answer twice", (s) => {
    const bytes = reply(theirs(s), value(s.random));
    return [bytes, bytes];
  }],
  ["a reference to no earlier call", (s) => {
    const id = next(s);
    s.lastId = id;
    const of = s.random.pick([id, id + 1, id + 1000]) >>> 0;
    const references = [[of, "[[],[]]"]] as const;
    return [request(id, "T.now", [1, 0x30], undefined, { references })];
  }],
  ["a malformed reference", (s) => {
    const id = next(s);
    s.lastId = id;
    const references = [[id - 1, s.random.pick(WRONG)]] as const;
    return [request(id, "T.now", [1, 0x30], undefined, { references })];
  }],
  ["RELEASE of no call", (s) => [frame(KIND.RELEASE, (s.lastId + 9) >>> 0)]],
  ["CANCEL of no call", (s) => [frame(KIND.CANCEL, (s.lastId + 9) >>> 0)]],
  ["a stream of no call", (s) => {
    const id = (s.lastId + 9) >>> 0;
    return [
      s.random.pick([
        data(id, [0], CALLER),
        end(id, CALLER),
        stop(id, CALLER),
        credit(id, 1, CALLER),
        data(id, [0]),
        stop(id),
      ]),
    ];
  }],
  ["DATA past its credit", (s) => {
    const [id, flags] = towards(s);
    const payload = new Uint8Array(32_769);
    payload[0] = 2;
    return new Array(5).fill(data(id, payload, flags));
  }],
  ["DATA past its size", (s) => {
    const [id, flags] = towards(s);
    return [data(id, new Uint8Array(40_000).fill(2), flags)];
  }],
  ["an item of two kinds", (s) => {
    const [id, flags] = towards(s);
    return [
      data(id, [s.random.pick([3, 2, 0]), 0x61], flags | MORE),
      s.random.oneIn(2) ? data(id, [1, 0x37], flags) : end(id, flags),
    ];
  }],
  ["DATA behind END", (s) => {
    const [id, flags] = towards(s);
    return [end(id, flags), data(id, [1, 0x37], flags), end(id, flags)];
  }],
  ["CREDIT past what can be", (s) => {
    const [id, flags] = towards(s);
    return [credit(id, 0x7fffffff, flags), credit(id, 0x7fffffff, flags)];
  }],
  ["a FRAGMENT that fits no message", (s) => {
    const [id, flags] = towards(s);
    const size = s.random.pick([0, 1, 11, 12, 40]);
    return [frame(KIND.FRAGMENT, id, s.random.bytes(size), flags)];
  }],
  ["an ABORT of nothing", (s) => {
    const [id, flags] = towards(s);
    return [frame(KIND.FRAGMENT, id, [], flags | ABORT)];
  }],
  ["a GOAWAY with a higher id", (s) => [
    goaway(s.random.oneIn(2) ? undefined : 1),
    goaway(s.random.pick([2, 0x7fffffff])),
  ]],
  [
    "a REQUEST after LAST",
    (s) => [last(), call(s, next(s), "T.wait", [0])],
  ],
  ["a warning after a GOAWAY", () => [goaway(undefined), warning()]],
  ["a warning with NONE", () => [frame(KIND.GOAWAY, 0, [0, 0, 0], 3)]],
  [
    "GOAWAYs again and again",
    () => new Array(MAX_GOAWAYS + 1).fill(goaway(undefined, "internal", "x")),
  ],
  ["control frames without use", (s) => {
    const [id, flags] = towards(s);
    const one = s.random.pick([
      end(id, flags, "x"),
      stop(id, flags),
      credit(id, 0, flags),
    ]);
    const count = s.random.oneIn(40) ? MAX_IDLE + 1000 : 100;
    return [concat(new Array(count).fill(one))];
  }],
  [
    "more calls than the window",
    (s) =>
      Array.from(
        { length: 70 },
        () => call(s, s.lastId + 1, s.random.pick(NAMES), [0]),
      ),
  ],
  ["more bytes than the window", (s) =>
    Array.from(
      { length: 6 },
      () => call(s, s.lastId + 1, "T.wait", new Array(30_000).fill(2)),
    )],
  [
    "more streams than were granted",
    (s) =>
      Array.from({ length: 12 }, () => call(s, s.lastId + 1, "T.up", STREAM)),
  ],
  ["a stream frame with the wrong flag", (s) => {
    const [id, flags] = towards(s);
    return [
      s.random.pick([
        data(id, [0], flags ^ CALLER),
        end(id, flags ^ CALLER),
        stop(id, flags ^ CALLER),
        credit(id, 1, flags ^ CALLER),
      ]),
    ];
  }],
  ["text that is not UTF-8", (s) => {
    const id = s.lastId = next(s);
    return [
      s.random.pick([
        frame(KIND.REQUEST, id, [0, 2, 0xff, 0xfe, 0]),
        frame(KIND.REQUEST, id, [0, 3, 1, 0xff, 0, 0, 1, 0x61, 0], 2),
        frame(KIND.GOAWAY, 0, [1, 0xff, 0, 0], 1),
        frame(KIND.ERROR, theirs(s), [1, 0xff, 0, 0, 0]),
      ]),
    ];
  }],
  ["metadata that does not fit its block", (s) => {
    const id = s.lastId = next(s);
    return [frame(KIND.REQUEST, id, [0, 9, 1, 0x61, 0, 1, 0, 0], 2)];
  }],
  ["trailers that do not fit their block", (s) => {
    const [id, flags] = towards(s);
    const body = s.random.pick([[], [0, 9, 1], [...TRAILERS, 0]]);
    return [frame(KIND.END, id, body, flags | 4)];
  }],
  ["a body beside a stream", (s) => {
    const bytes = call(s, next(s), "T.up", STREAM);
    bytes[5] |= 0x10;
    return [bytes];
  }],
  ["an unknown payload kind", (s) => [
    s.random.oneIn(2) ? call(s, next(s), "T.wait", [6]) : reply(theirs(s), [9]),
  ]],
  ["what was said before, again", (s) => s.said.slice(-s.random.between(1, 4))],
  ["two frames in the wrong order", (s) => [legal(s), legal(s)].reverse()],
  ["the rest of a frame that has not begun", (s) => [
    legal(s).subarray(s.random.between(1, 8)),
  ]],
];
