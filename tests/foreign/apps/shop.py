"""A web application as people write them, to be exposed by a hub: FastAPI on uvicorn, unaware of any hub."""

from __future__ import annotations

import asyncio
import collections
import hashlib

from fastapi import Cookie, FastAPI, Request, Response, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

app = FastAPI()
counted: collections.Counter[str] = collections.Counter()
ill = False

PAGE = """<!doctype html>
<title>shop</title>
<form method="post" action="upload" enctype="multipart/form-data"><input type="file" name="file"><button>Send</button></form>
<script>
  const events = new EventSource("events");
  events.onmessage = (event) => { document.body.dataset.event = event.data; };
  const url = new URL("echo", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url, ["echo.v1"]);
  socket.onopen = () => socket.send("ping");
  socket.onmessage = (event) => { document.body.dataset.echo = `${socket.protocol} ${event.data}`; };
</script>
"""


@app.get("/")
def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.get("/healthz")
def healthz() -> Response:
    return Response(status_code=503 if ill else 200)


@app.post("/ill/{state}")
def set_ill(state: bool) -> None:
    global ill
    ill = state


@app.api_route("/inspect/{rest:path}", methods=["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def inspect(request: Request) -> JSONResponse:
    """What the application was asked, as it saw it."""
    body = await request.body()
    return JSONResponse({
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "headers": {name: value for name, value in request.headers.items()},
        "body": body.decode(),
    })


@app.post("/upload")
async def upload(file: UploadFile) -> dict:
    digest, size = hashlib.sha256(), 0
    while chunk := await file.read(1 << 16):
        digest.update(chunk)
        size += len(chunk)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest()}


@app.put("/raw")
async def raw(request: Request) -> dict:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest(), "length": request.headers.get("content-length")}


@app.get("/download/{mib}")
def download(mib: int) -> StreamingResponse:
    async def body():
        try:
            for _ in range(mib * 16):
                yield bytes(1 << 16)
                counted["chunks"] += 1
        finally:
            counted["downloads"] += 1

    return StreamingResponse(body(), media_type="application/octet-stream", headers={"content-length": str(mib << 20)})


@app.get("/events")
async def events() -> StreamingResponse:
    async def body():
        counted["listening"] += 1
        number = 0
        try:
            while True:
                number += 1
                yield f"id: {number}\ndata: tick {number}\n\n"
                await asyncio.sleep(0.1)
        finally:
            counted["listening"] -= 1

    return StreamingResponse(body(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


@app.get("/never")
async def never(request: Request) -> None:
    counted["never"] += 1
    try:
        while not await request.is_disconnected():
            await asyncio.sleep(0.02)
    finally:
        counted["never"] -= 1


@app.get("/counted")
def read_counted() -> dict:
    return counted


@app.get("/login")
def login() -> RedirectResponse:
    answer = RedirectResponse("/me", status_code=303)
    answer.set_cookie("session", "ada", path="/", httponly=True)
    answer.set_cookie("theme", "dark", path="/me")
    return answer


@app.get("/me")
def me(session: str | None = Cookie(None), theme: str | None = Cookie(None)) -> dict:
    return {"session": session, "theme": theme}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    wanted = socket.scope["subprotocols"]
    await socket.accept(
        subprotocol="echo.v1" if "echo.v1" in wanted else None,
        headers=[(b"x-greeting", b"hello"), (b"set-cookie", b"room=1; Path=/")],
    )
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                counted[f"closed {message['code']}"] += 1
                return
            if message.get("text") == "headers":
                await socket.send_json(dict(socket.headers))
            elif message.get("text") == "bye":
                return await socket.close(4001, "as you wish")
            elif message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as closed:
        counted[f"closed {closed.code}"] += 1


@app.websocket("/members")
async def members(socket: WebSocket) -> None:
    if socket.cookies.get("session") != "ada":
        return await socket.close(1008, "members only")
    await socket.accept()
    await socket.send_text("welcome, ada")
    await socket.close()
