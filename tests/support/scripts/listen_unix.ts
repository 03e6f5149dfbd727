// Listens at the Unix socket named by its argument until it is killed.

import process from "node:process";
import { listen } from "../../../src/transport/listen.ts";

await listen({ path: process.argv[2]! });
console.log("listening");
