/** A client with calls in flight, and what becomes of them. */

import type { ClientSession } from "../session.ts";

/** A client with so many calls in flight, and returns their ids. */
export async function inFlight(
  c: ClientSession,
  count: number,
): Promise<number[]> {
  await c.exchangeHello();
  await c.script(
    ...Array.from(
      { length: count },
      () => ({ do: "call", method: "m" }) as const,
    ),
  );
  return (await c.requests(count)).map(({ id }) => id);
}

/** The outcomes of the calls a script made. */
export async function outcomes(c: ClientSession): Promise<string[]> {
  const [, ...calls] = (await c.report()).calls;
  return calls.map(({ outcome }) => outcome);
}
