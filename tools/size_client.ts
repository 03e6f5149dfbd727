/**
 * A program that only makes calls, which `tools/consumers.ts` bundles.
 *
 * @module
 */

export { Client } from "../mod.ts";
