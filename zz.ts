import { Client, memoryPair, Server } from "./mod.ts";
const s = {
  S: {
    async *f() {
      let i = 0;
      for (;; i++) yield new Uint8Array(16384).fill(i);
    },
  },
};
const [a, b] = memoryPair();
new Server(s).accept(b);
const c = new Client<typeof s>(a);
const r = (await c.call("S.f")).getReader();
const runs = (x: Uint8Array) => {
  const o: string[] = [];
  let n = 0;
  for (let i = 0; i <= x.length; i++) {
    if (i && x[i] !== x[i - 1]) {
      o.push(`${x[i - 1]}x${n}`);
      n = 0;
    }
    n++;
  }
  return o.join(",");
};
const got = [runs((await r.read()).value!)];
await new Promise((r) => setTimeout(r, 200));
for (let i = 0; i < 9; i++) got.push(runs((await r.read()).value!));
console.log(got.join(" | "));
await r.cancel();
await c.close();
process.exit();
