/**
 * Runs the cases of `cases.ts` under `deno bench`. A time is of one run of a case,
 * which has as many operations as its name says.
 *
 * @module
 */

import { CASES } from "./cases.ts";

for (const { name, group, operations, setup } of CASES) {
  let body: ReturnType<typeof setup>;
  Deno.bench(`${name} (${operations} x)`, { group }, async () => {
    body ??= setup();
    await body();
  });
}
