// Runs `node ARGUMENTS…`, and on SIGUSR1 ends it and runs it anew. Ends with it, and it with this.

import { spawn } from "node:child_process";

let child;
let restarting = false;
function start() {
  child = spawn(process.execPath, process.argv.slice(2), { stdio: "inherit" });
  child.on("exit", (status) => {
    if (!restarting) process.exit(status ?? 1);
    restarting = false;
    start();
  });
}

process.on("SIGUSR1", () => {
  restarting = true;
  child.kill("SIGKILL");
});
process.on("SIGTERM", () => child.kill("SIGKILL"));
start();
