// A WebSocket echo on PORT that says its process id when asked for it, and ends when it is told to.

import { WebSocketServer } from "ws";

new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT) }).on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    if (String(data) === "pid") socket.send(String(process.pid));
    else if (String(data) === "end") process.exit(3);
    else socket.send(data, { binary: isBinary });
  });
});
