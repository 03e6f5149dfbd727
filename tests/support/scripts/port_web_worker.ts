// A web worker that serves one client over its own scope, and says so when
// that connection has ended: the worker itself goes on.

import { fromMessagePort, type MessagePortLike, Server } from "../../../mod.ts";
import { services } from "./port_services.ts";

const scope = globalThis as unknown as MessagePortLike;
const connection = new Server(services).accept(fromMessagePort(scope));
connection.closed.then((reason) => scope.postMessage(`over: ${reason}`, []));
