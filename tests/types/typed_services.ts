/**
 * Services that other files know by their type alone.
 *
 * @module
 */

import { type CallContext, method } from "../../mod.ts";
import * as v from "valibot";

/** A type that contains itself. */
export interface Tree {
  name: string;
  children?: Tree[];
}

/** A plain object of functions, as an application writes it. */
export const services = {
  Users: {
    find: (id: number, ctx: CallContext) => ({
      id,
      born: new Date(0),
      asked: ctx.method,
    }),
    grow: (tree: Tree): Tree => ({ name: "root", children: [tree] }),
    admin: { drop: (_id: number): Promise<void> => Promise.resolve() },
  },
  Math: { half: method(v.number(), (n) => n / 2) },
};
