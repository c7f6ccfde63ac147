// A Socket.IO server on PORT, with a word for plain HTTP.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer((request, response) => response.end(`talk at ${request.url}`));
const io = new Server(http, { cookie: { name: "io" }, perMessageDeflate: { threshold: 0 }, pingInterval: 1_000 });

io.on("connection", (socket) => {
  socket.emit("welcome", { auth: socket.handshake.auth, query: socket.handshake.query.who, transport: socket.conn.transport.name });
  socket.on("enter", (room, entered) => {
    socket.join(room);
    entered();
  });
  socket.on("say", (room, ...what) => socket.to(room).emit("said", ...what));
  socket.on("reverse", (bytes, answer) => answer(Buffer.from(bytes).reverse()));
  socket.on("throw me out", () => socket.disconnect(true));
});

http.listen(Number(process.env.PORT), "127.0.0.1");
