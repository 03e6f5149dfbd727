// A thread that serves one client over its `parentPort`, and then ends.

import { parentPort } from "node:worker_threads";
import { fromMessagePort, Server } from "../../../mod.ts";
import { services } from "./port_services.ts";

new Server(services).accept(fromMessagePort(parentPort!));
