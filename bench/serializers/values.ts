/**
 * The values that serializers are compared with.
 *
 * @module
 */

/** Values by name. Those that are called plain are JSON's. */
export const VALUES: Readonly<Record<string, unknown>> = {
  "plain: small object": { id: 123456, name: "client", tags: ["a", "b"] },
  "plain: 100 small objects": many((id) => ({
    id,
    name: `client ${id}`,
    on: id % 2 === 0,
  })),
  "plain: nested": {
    users: many((id) => ({
      id,
      profile: { name: `user ${id}`, home: { zip: id * 17, geo: [id / 3, 1] } },
      roles: ["reader", "writer"],
      flags: { active: true, note: null },
    })),
  },
  "plain: 4 KiB of text": { text: "sluice ".repeat(585) },
  "mixed: small object": {
    id: 123456n,
    at: new Date(1_700_000_000_000),
    note: undefined,
    tags: new Set(["a", "b"]),
  },
  "mixed: 100 small objects": many((id) => ({
    id,
    name: `client ${id}`,
    at: new Date(1_700_000_000_000 + id * 1000),
    note: undefined,
  })),
  "mixed: map of 100 entries": new Map(
    many((
      id,
    ) => [`key ${id}`, { n: BigInt(id), ratio: id / 3, low: -Infinity }]),
  ),
  "mixed: nested, one date": {
    users: many((id) => ({
      id,
      profile: { name: `user ${id}`, home: { zip: id * 17, geo: [id / 3, 1] } },
      roles: ["reader", "writer"],
    })),
    at: new Date(1_700_000_000_000),
  },
  "mixed: error, URL, RegExp": {
    why: new Error("not found", { cause: new Error("no such row") }),
    home: new URL("https://example.org/a?b=c"),
    find: /^client \d+$/giu,
  },
  "bytes: 16 B in an object": { name: "a.bin", data: filled(16) },
  "bytes: 64 KiB in an object": { name: "a.bin", data: filled(65_536) },
  "bytes: 1,024 floats in an object": {
    samples: new Float32Array(1024).map((_, i) => i / 3),
  },
};

function many<T>(make: (id: number) => T): T[] {
  return Array.from({ length: 100 }, (_, id) => make(id));
}

function filled(length: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => i);
}
