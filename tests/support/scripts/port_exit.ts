// A client of a thread closes; the process must then exit by itself, and the
// thread as well, though nobody terminates it.

import { Worker } from "node:worker_threads";
import { Client, fromMessagePort } from "../../../mod.ts";
import type { WorkerServices } from "./port_services.ts";

const worker = new Worker(new URL("./port_thread.ts", import.meta.url));
const client = new Client<WorkerServices>(fromMessagePort(worker));
console.log(await client.call("Math.square", 3));
await client.close();
