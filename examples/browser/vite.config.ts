import { defineConfig } from "vite";

// `vite` serves the page while you work on it, and passes WebSockets on to
// `server.ts`.
export default defineConfig({
  server: {
    proxy: { "/rpc": { target: "ws://127.0.0.1:8848", ws: true } },
  },
});
