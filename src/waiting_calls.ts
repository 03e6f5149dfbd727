/**
 * The peer's calls that wait to be started, in their order, with their bytes.
 *
 * @module
 */

import type { Serving } from "./context.ts";
import { List } from "./list.ts";

/** A list that knows how many bytes are in it. */
export class WaitingCalls extends List<Serving> {
  bytes = 0;

  override push(serving: Serving): void {
    super.push(serving);
    this.bytes += serving.size;
  }

  override remove(serving: Serving): void {
    super.remove(serving);
    this.bytes -= serving.size;
  }
}
