/**
 * What a program that only calls would import; `tools/size.ts` bundles it.
 *
 * @module
 */

export { Client } from "../mod.ts";
