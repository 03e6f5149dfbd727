/**
 * The packages of `tests/browser/package.json`, which are not there until
 * `deno task test:browser` or `deno task browsers` has installed them: so the
 * compiler, which always looks at this directory, must not need them.
 *
 * @module
 */

import { createRequire } from "node:module";

/** Loads a module of one of the packages. */
export const load: NodeJS.Require = createRequire(import.meta.url);
