export { Client } from "@sluice/rpc";
