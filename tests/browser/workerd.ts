/**
 * A Worker of workerd, which runs the tests of calls when it is sent a request,
 * and responds with how they ended. The request's query has the server's URL.
 *
 * @module
 */

import "./calls_test.ts";
import { type Ended, run } from "./page/testing.ts";

export default {
  async fetch(request: Request): Promise<Response> {
    const ended: Ended[] = [];
    Object.assign(globalThis, {
      serverUrl: new URL(request.url).searchParams.get("server"),
      testBegan: () => Promise.resolve(),
      testEnded: (json: string) => void ended.push(JSON.parse(json)),
    });
    await run(20_000);
    return Response.json(ended);
  },
};
