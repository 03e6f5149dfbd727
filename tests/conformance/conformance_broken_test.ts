// The conformance suite against clients and servers that break one rule each,
// which the cases of that rule must detect, and against ones that lack an ability,
// whose cases must be skipped and not fail.

import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import type { Duplex } from "../../mod.ts";
import { changeHello, helloAlone, meddle, type Meddler } from "./between.ts";
import { BODY, errorBody, payload, request, TRAILERS, u32 } from "./bytes.ts";
import type { Case } from "./case.ts";
import {
  type Driver,
  memoryClient,
  memoryServer,
  type MemoryTarget,
} from "./memory.ts";
import { driveMinimal } from "./minimal.ts";
import { clientStreams } from "./sections/streams_client.ts";
import { conformanceServices } from "./services.ts";
import type { Role } from "./session.ts";
import { type CaseResult, CASES, runCase } from "./suite.ts";
import { serverAt } from "./tcp.ts";
import type { RawFrame } from "./wire.ts";
import {
  data,
  end,
  frame,
  goaway,
  hello,
  isWarning,
  KIND,
  last,
} from "../support/raw_peer.ts";

const OPTIONS = {
  windowCalls: 200,
  windowBytes: 150_000,
  maxMessage: 131_072,
  maxStreams: 16,
  connectionCredit: 2_200_000,
};
const CALLER = 1;
const MORE = 2;
const STREAM = 5;

type Between = (far: Duplex) => Duplex;

function target(role: Role, between: Between): MemoryTarget {
  return role === "server"
    ? memoryServer(OPTIONS, between)
    : memoryClient({ maxStreams: 16 }, between);
}

async function resultOf(one: Case, between: Between): Promise<CaseResult> {
  // Whatever is left belongs to the broken side, and does not matter.
  return await runCase(one, target(one.role, between));
}

/** A side that breaks a rule, and the cases that must detect it. */
interface Broken {
  readonly fault: string;
  readonly seenBy: Partial<Record<Role, readonly string[]>>;
  readonly make: () => Meddler;
}

/** The numbers of a HELLO's field 7. */
type Grant = [credit: number, max: number, all: number];

/** Changes what a HELLO grants for streams. */
function regrant(
  got: RawFrame,
  change: (...grant: Grant) => Grant,
): Uint8Array[] | undefined {
  return changeHello(got, (fields) =>
    fields.map(([type, value]) => {
      if (type !== 7) return [type, value];
      const view = new DataView(Uint8Array.from(value).buffer);
      const numbers = [0, 4, 8].map((at) => view.getUint32(at)) as Grant;
      return [type, change(...numbers).flatMap(u32)];
    }));
}

function isStream(got: RawFrame, kind: number): boolean {
  return got.kind === kind && got.body.at(-1) === STREAM;
}

/** Drops frames of these kinds that the side sends. */
function mute(...kinds: number[]): () => Meddler {
  return () => ({
    fromEnd: ({ kind }) => kinds.includes(kind) ? [] : undefined,
  });
}

/** Drops the suite's frames for which this is true. */
function deaf(to: (got: RawFrame) => boolean): () => Meddler {
  return () => ({ fromSuite: (got) => to(got) ? [] : undefined });
}

/** Closes at a frame of the suite for which this is true. */
function closesAt(
  what: () => (got: RawFrame) => boolean,
  code: string,
): () => Meddler {
  return () => {
    const at = what();
    let closed = false;
    return {
      fromSuite(got, line) {
        if (closed || !at(got)) return closed ? [] : undefined;
        closed = true;
        line.toSuite(goaway(undefined, code, "too much"));
        return [];
      },
      fromEnd: () => closed ? [] : undefined,
    };
  };
}

const BROKEN: readonly Broken[] = [
  {
    fault: "opens more streams than it was granted",
    seenBy: { server: ["ST2.2"], client: ["ST2.11"] },
    make: () => ({
      fromSuite: (got) => regrant(got, (credit, _, all) => [credit, 1000, all]),
    }),
  },
  {
    fault: "accepts more streams than it has granted",
    seenBy: { server: ["ST2.1"], client: ["ST2.12"] },
    make: () => ({
      fromEnd: (got) => regrant(got, (credit, _, all) => [credit, 4, all]),
    }),
  },
  {
    fault: "never frees the place of a stream",
    seenBy: { server: ["ST2.3"] },
    make: () => ({
      fromEnd: (got) =>
        isStream(got, KIND.REPLY) && got.id > 1
          ? [frame(KIND.ERROR, got.id, errorBody("resource_exhausted"), 1)]
          : undefined,
    }),
  },
  {
    fault: "ignores its credit",
    seenBy: { server: ["ST8.2"], client: ["ST8.11", "ST8.12"] },
    make: () => ({
      fromSuite: (got) => regrant(got, (_, max, all) => [1_048_576, max, all]),
    }),
  },
  {
    fault: "stalls without its credit, whatever is granted",
    seenBy: { server: ["ST8.2"], client: ["ST8.11", "ST8.12"] },
    make: deaf(({ kind }) => kind === KIND.CREDIT),
  },
  {
    fault: "accepts DATA past the credit it has granted",
    seenBy: { server: ["ST8.1"], client: ["ST8.21"] },
    make: deaf(({ kind }) => kind === KIND.DATA),
  },
  {
    fault: "grants nothing for what is read, and does not say STOP",
    seenBy: {
      server: ["ST7.1", "ST7.2", "ST7.3", "ST9.1", "ST6.1"],
      client: ["ST9.21", "ST6.11", "ST14.12"],
    },
    make: mute(KIND.CREDIT, KIND.STOP),
  },
  {
    fault: "grants what nobody has read",
    seenBy: { client: ["ST9.22"] },
    make: () => ({
      fromSuite(got, line) {
        if (got.kind !== KIND.DATA) return undefined;
        line.toSuite(frame(KIND.CREDIT, got.id, u32(1000), CALLER));
      },
    }),
  },
  {
    fault: "sends an item of more than 1,000,000 bytes",
    seenBy: { client: ["ST7.11"] },
    make: () => ({
      fromEnd(got) {
        if (got.kind !== KIND.END) return undefined;
        const part = new Uint8Array(32_769).fill(0x78);
        part[0] = 3;
        const parts = Array.from(
          { length: 31 },
          (_, i) => data(got.id, part, CALLER | (i < 30 ? MORE : 0)),
        );
        return [...parts, end(got.id, CALLER)];
      },
    }),
  },
  {
    fault: "drops large items",
    seenBy: { server: ["ST7.1", "ST7.2"], client: ["ST7.12"] },
    make: () => ({
      fromEnd: ({ kind, body }) =>
        kind === KIND.DATA && body.length > 20_000 ? [] : undefined,
    }),
  },
  {
    fault: "closes the transport behind its FIN without lingering",
    seenBy: { server: ["EN6.2", "EN6.4"], client: ["EN6.2", "EN6.3"] },
    make: () => ({ ended: (line) => line.cut() }),
  },
  {
    fault: "has no room for calls that come with HELLO",
    seenBy: { client: ["HE13.3", "HE13.4", "HE13.5"] },
    make: closesAt(
      () => ({ kind }) => kind === KIND.REQUEST,
      "resource_exhausted",
    ),
  },
  {
    fault: "frees the place of a call, and its bytes, when it is given up",
    seenBy: { client: ["WI2.1", "WI2.2", "WI2.5", "WI2.6"] },
    make: () => {
      const given = new Set<number>();
      return {
        fromEnd({ kind, id }, line) {
          if (kind !== KIND.CANCEL) return undefined;
          given.add(id);
          line.toEnd(frame(KIND.ERROR, id, errorBody("cancelled")));
        },
        fromSuite: ({ kind, id }) =>
          kind === KIND.REPLY && given.has(id) ? [] : undefined,
      };
    },
  },
  {
    fault: "answers calls that its GOAWAY excludes",
    seenBy: { server: ["ER2.1", "FR7.11", "ID1.11", "ID1.17"] },
    make: () => ({
      fromEnd: ({ kind, body }) =>
        kind === KIND.GOAWAY ? [frame(KIND.GOAWAY, 0, body, 1)] : undefined,
    }),
  },
  {
    fault: "says LAST while a call waits",
    seenBy: { client: ["GA7.2"] },
    make: () => ({
      fromSuite(got, line) {
        if (isWarning(got)) line.toSuite(last());
        return undefined;
      },
      fromEnd: ({ kind }) => kind === KIND.LAST ? [] : undefined,
    }),
  },
  {
    fault: "does not know LAST with ALL",
    seenBy: { server: ["LA3.1", "LA3.2", "LA3.3"], client: ["LA3.1", "LA3.4"] },
    make: deaf(({ kind, flags }) => kind === KIND.LAST && flags === 1),
  },
  {
    fault: "discards the calls that cross its warning",
    seenBy: { server: ["GA8.1", "GA8.2", "GA8.3"] },
    make: () => {
      let warned = false;
      return {
        fromEnd(got) {
          warned ||= isWarning(got);
          return undefined;
        },
        fromSuite: ({ kind }) =>
          warned && kind === KIND.REQUEST ? [] : undefined,
      };
    },
  },
  {
    fault: "sends a stream to a server without the capability",
    seenBy: { client: ["ST1.2"] },
    make: () => ({
      fromSuite: (got) =>
        changeHello(got, (fields) => [...fields, [6, u32(1)]]),
    }),
  },
  {
    fault: "sends a stream before HELLO has been read",
    seenBy: { client: ["ST3.1"] },
    make: () => ({
      fromEnd(got, line) {
        if (got.kind !== KIND.HELLO) return undefined;
        line.toSuite(request(1, "Early.call", undefined, { raw: [STREAM] }));
      },
    }),
  },
  {
    fault: "sends no END",
    seenBy: {
      server: ["ST8.2"],
      client: [
        ...["ST3.1", "ST5.21", "ST5.22", "ST5.23", "ST5.24", "ST5.25"],
        ...["ST5.26", "ST7.11", "ST7.12", "ST10.11", "ST10.15", "ST14.11"],
      ],
    },
    make: mute(KIND.END),
  },
  {
    fault: "sends END in order where its source has failed",
    seenBy: { client: ["ST10.11", "ST7.11"] },
    make: () => ({
      fromEnd: ({ kind, id }) =>
        kind === KIND.END ? [end(id, CALLER)] : undefined,
    }),
  },
  {
    fault: "sends DATA behind END",
    seenBy: { server: ["ST10.1"], client: ["ST5.21", "ST14.11"] },
    make: () => ({
      fromEnd(got) {
        if (got.kind !== KIND.END) return undefined;
        const { id, flags } = got;
        return [
          frame(KIND.END, id, got.body, flags),
          data(id, payload("late"), flags & CALLER),
        ];
      },
    }),
  },
  {
    fault: "accepts a CREDIT above 2^31 - 1",
    seenBy: { server: ["ST9.2"], client: ["ST9.11"] },
    make: deaf(({ kind }) => kind === KIND.CREDIT),
  },
  {
    fault: "closes for a CREDIT of 0",
    seenBy: { server: ["ST9.3"], client: ["ST9.12"] },
    make: closesAt(
      () => ({ kind, body }) =>
        kind === KIND.CREDIT && body.every((byte) => byte === 0),
      "protocol_error",
    ),
  },
  {
    fault: "accepts frames of streams that were never opened",
    seenBy: {
      client: ["ST15.1", "ST15.21", "ST15.22", "ST15.23", "ST15.24"],
    },
    make: deaf(({ kind }) => kind >= KIND.DATA && kind <= KIND.CREDIT),
  },
  {
    fault: "accepts DATA and answers that break an item or a stream",
    seenBy: {
      server: ["ST5.7"],
      client: [
        ...["ST5.41", "ST5.42", "ST5.43", "ST5.44", "ST5.45", "ST5.46"],
      ],
    },
    make: deaf(({ kind, body }) =>
      kind === KIND.DATA || kind === KIND.END ||
      (kind === KIND.REPLY && body[0] !== STREAM)
    ),
  },
  {
    fault: "closes for the last part of no bytes, and for cut characters",
    seenBy: { server: ["ST5.8", "ST5.9"] },
    make: closesAt(() => {
      let parts = false;
      return ({ kind, flags }) => {
        const last = parts && kind === KIND.DATA;
        parts ||= kind === KIND.DATA && (flags & MORE) !== 0;
        return last;
      };
    }, "protocol_error"),
  },
  {
    fault: "closes for frames that crossed the end of their stream",
    seenBy: {
      server: ["ST13.1"],
      client: ["ST13.2", "ST15.31", "ST15.32", "ST15.33", "ST15.34"],
    },
    make: closesAt(() => {
      let over = false;
      return (got) => {
        const late = over && got.kind >= KIND.DATA && got.kind <= KIND.CREDIT;
        const answer = got.kind === KIND.REPLY && got.body[0] !== STREAM;
        // The answer to Conformance.next opens no stream, nor ends one.
        over ||= got.kind === KIND.END || (answer && got.id > 1) ||
          isStream(got, KIND.REQUEST);
        return late;
      };
    }, "protocol_error"),
  },
  {
    fault: "drops the items of its result",
    seenBy: {
      client: [
        ...["ST5.31", "ST10.12", "ST10.13", "ST10.14", "ST10.15", "ST11.12"],
      ],
    },
    make: deaf(({ kind }) => kind === KIND.DATA),
  },
  {
    fault: "sends more than the credit of the connection",
    seenBy: { server: ["ST17.1"], client: ["ST17.11", "ST18.11"] },
    make: () => ({
      fromSuite: (got) => regrant(got, (credit, max) => [credit, max, 1 << 30]),
    }),
  },
  {
    fault: "ignores CREDIT of the connection",
    seenBy: {
      server: ["ST17.1", "ST19.1", "ST19.2", "ST19.3"],
      client: ["ST17.11", "ST18.11", "ST19.11"],
    },
    make: deaf(({ kind, flags }) => kind === KIND.CREDIT && (flags & 2) !== 0),
  },
  {
    fault: "keeps the credit of the connection",
    seenBy: { server: ["ST17.2"] },
    make: () => ({
      fromEnd: ({ kind, flags }) =>
        kind === KIND.CREDIT && (flags & 2) !== 0 ? [] : undefined,
    }),
  },
  {
    fault: "ignores WINDOW",
    seenBy: {
      server: ["WI6.1", "WI6.2", "WI8.1", "WI9.2"],
      client: ["WI6.1", "WI6.2", "WI7.1", "WI7.2", "WI7.3"],
    },
    make: deaf(({ kind }) => kind === KIND.WINDOW),
  },
  {
    fault: "obeys a lowered window too late",
    seenBy: { client: ["WI7.1"] },
    make: () => ({
      fromSuite({ kind, id, body }, line) {
        if (kind !== KIND.WINDOW) return undefined;
        line.toSuite(frame(kind, id, body, 1));
        return [];
      },
    }),
  },
  {
    fault: "takes a call for answered when its stream begins",
    seenBy: { client: ["ST11.11", "ST11.12"] },
    make: () => ({
      fromSuite: (got) =>
        isStream(got, KIND.REPLY)
          ? [frame(KIND.REPLY, got.id, got.body), end(got.id)]
          : undefined,
    }),
  },
  {
    fault: "says CANCEL and STOP twice",
    seenBy: { client: ["ST12.11", "ST12.12", "ST14.12"] },
    make: () => ({
      fromEnd(got) {
        const twice = got.kind === KIND.CANCEL || got.kind === KIND.STOP;
        if (!twice) return undefined;
        const bytes = frame(got.kind, got.id, got.body, got.flags);
        return [bytes, bytes];
      },
    }),
  },
  {
    fault: "closes for what has bodies, messages or trailers",
    seenBy: {
      server: ["BD1.2", "BD2.1", "BD2.2", "MG1.1", "TR1.1", "TR1.2"],
      client: ["BD1.22", "BD3.1", "MG1.21", "TR1.21"],
    },
    make: closesAt(
      () => ({ kind, flags, body }) =>
        hasBody({ kind, flags }) || (kind === KIND.DATA && body[0] === 6) ||
        (kind === KIND.END && (flags & TRAILERS) !== 0),
      "protocol_error",
    ),
  },
  {
    fault: "accepts bodies, messages and trailers that break the rules",
    seenBy: {
      server: [
        ...["BD1.1", "MG1.2", "MG1.3", "MG1.4", "MG1.5"],
        ...["TR1.3", "TR1.4", "TR1.5", "TR1.6", "TR1.7", "FR10.21"],
      ],
      client: ["BD1.23", "BD1.24", "MG1.22", "TR1.22", "FR10.21"],
    },
    make: deaf(({ kind, flags, id, body }) =>
      hasBody({ kind, flags }) || kind === KIND.DATA || kind === KIND.END ||
      (kind === KIND.REPLY && id > 1) ||
      (kind === KIND.REQUEST && body.at(-1) === 6)
    ),
  },
  {
    fault: "sends a body without its flag",
    seenBy: { server: ["BD1.2"], client: ["BD1.21"] },
    make: () => ({
      fromEnd: ({ kind, id, body, flags }) =>
        hasBody({ kind, flags })
          ? [frame(kind, id, body, flags & ~BODY)]
          : undefined,
    }),
  },
];

function hasBody(
  { kind, flags }: { readonly kind: number; readonly flags: number },
): boolean {
  const value = kind === KIND.REQUEST || kind === KIND.REPLY;
  return value && (flags & BODY) !== 0;
}

for (const { fault, seenBy, make } of BROKEN) {
  for (const role of ["server", "client"] as const) {
    for (const id of seenBy[role] ?? []) {
      test(`conformance ${id} fails a ${role} that ${fault}`, async () => {
        const one = CASES.find((it) => it.id === id && it.role === role);
        assert(one !== undefined, `there is no case ${id} for a ${role}`);
        const { result, why } = await resultOf(
          one,
          (far) => meddle(far, make),
        );
        assertEquals(result, "failed", why);
      });
    }
  }
}

test("conformance EN6.2 fails a server over TCP that closes its socket at once", async () => {
  const listener = createServer((socket) => {
    socket.on("error", () => {});
    socket.write(hello());
    socket.on("data", (chunk) => {
      if (chunk[chunk.length - 8] !== 0x7f) return;
      socket.end(goaway(undefined, "protocol_error", "an unknown kind"));
      socket.on("finish", () => socket.destroy());
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const one = CASES.find(({ id, role }) => id === "EN6.2" && role === "server");
  const { result, why } = await runCase(one!, serverAt("127.0.0.1", port));
  assertEquals([result, why], [
    "failed",
    "it closed the connection without lingering",
  ]);
  listener.close();
  await once(listener, "close");
});

test("every case of a client's streams is seen to fail", () => {
  const seen = new Set(BROKEN.flatMap(({ seenBy }) => seenBy.client ?? []));
  const unseen = clientStreams.map(({ id }) => id).filter((id) =>
    !seen.has(id)
  );
  assertEquals(unseen, []);
});

/** A side that neither sends nor reads the capabilities for streams and fragments. */
function withoutStreams(far: Duplex): Duplex {
  return helloAlone(
    far,
    (fields) =>
      fields.filter(([type]) => type !== 7)
        .map(([type, value]) =>
          type === 6
            ? [type, [...value.slice(0, 3), value[3] & ~1]]
            : [type, value]
        ),
  );
}

/** Runs all cases of a role whose ids begin with `only`. Returns what was skipped, and asserts that nothing failed. */
async function skippedOf(
  role: Role,
  only: string,
  make: () => MemoryTarget,
): Promise<Map<string, string>> {
  const skipped = new Map<string, string>();
  for (const one of CASES) {
    if (one.role !== role || !one.id.startsWith(only)) continue;
    const end = make();
    const { result, why } = await runCase(one, end);
    assert(result !== "failed", `${one.id}: ${why}`);
    if (result === "skipped") skipped.set(one.id, why);
    await end.end();
  }
  return skipped;
}

/** The subjects of the rules, by the beginning of their ids. */
const RULES = new Set(CASES.map(({ id }) => id.slice(0, 2)));

for (const role of ["server", "client"] as const) {
  for (const rules of RULES) {
    test(`conformance: of a ${role} without streams their cases are skipped, and none fails: ${rules}`, async () => {
      const make = () => target(role, withoutStreams);
      const skipped = await skippedOf(role, rules, make);
      const what = rules === "DC" ? "dependent calls" : "streams";
      for (const why of skipped.values()) {
        if (why === NO_REFERENCES) continue;
        assertEquals(why, `the ${role}'s HELLO has no capability for ${what}`);
      }
      const about = CASES.filter((it) => it.role === role && /^ST/.test(it.id));
      // Even so the cases can decide that such a side accepts no streams.
      const least = rules === "ST" ? about.length - 1 : 0;
      assert(skipped.size >= least, `${skipped.size} were skipped`);
    });
  }
}

test("conformance: the metadata of a server that shows none is skipped", async () => {
  const services = conformanceServices(8);
  const { metadata: _, ...rest } = services.Conformance;
  const skipped = await skippedOf(
    "server",
    "ME",
    () => memoryServer(OPTIONS, undefined, { ...services, Conformance: rest }),
  );
  assert(skipped.size > 0);
  for (const why of skipped.values()) {
    assertEquals(why, "the server does not offer Conformance.metadata");
  }
});

/** A client that sends no metadata. */
const plain = (far: Duplex) =>
  meddle(far, () => ({
    fromEnd({ kind, flags, id, body }) {
      if (kind !== KIND.REQUEST || (flags & 2) === 0) return undefined;
      const at = (flags & 1) === 0 ? 0 : 4;
      const length = 2 + body[at] * 256 + body[at + 1];
      const rest = [...body.subarray(0, at), ...body.subarray(at + length)];
      return [frame(kind, id, rest, flags & 1)];
    },
  }));

test("conformance: the metadata of a client that sends none is skipped", async () => {
  const about = CASES.filter((it) =>
    it.role === "client" && it.id.startsWith("ME")
  );
  const skipped: string[] = [];
  for (const one of about) {
    const { result, why } = await resultOf(one, plain);
    assert(result !== "failed", `${one.id}: ${why}`);
    if (result !== "skipped") continue;
    assertEquals(why, "the client sends no metadata");
    skipped.push(one.id);
  }
  assertEquals(skipped, ["ME1.32", "ME2.2"]);
});

const NO_REFERENCES = "the client does not refer to results";
const LACKS = new Set([
  "the client's HELLO has no capability for streams",
  "the client's HELLO has no windows that move",
  "the client's HELLO has no capability for fragments",
  "the client sends no metadata",
  NO_REFERENCES,
  "the client sends no deadline",
  "the client had already written the REQUEST",
]);

for (const rules of RULES) {
  test(`conformance: the minimal client of docs/protocol.md fails nothing: ${rules}`, async () => {
    const run: Driver = (dial, { clock }) => driveMinimal(dial, clock);
    const make = () => memoryClient({}, undefined, run);
    for (const [id, why] of await skippedOf("client", rules, make)) {
      assert(LACKS.has(why), `${id}: ${why}`);
    }
  });
}
