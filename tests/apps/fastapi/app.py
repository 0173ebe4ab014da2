"""A page with a WebSocket and an event stream. The server sends the next event when the socket asks for it. Argument: a port."""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse

PAGE = """<!doctype html>
<title>Live</title>
<p id="socket"></p>
<p id="events"></p>
<script>
  const show = (id, text) => { document.getElementById(id).textContent += text + ";" };
  const socket = new WebSocket(`ws://${location.host}/socket`);
  socket.onmessage = (message) => show("socket", message.data);
  socket.onclose = () => show("socket", "closed");
  socket.onopen = () => {
    const events = new EventSource("/events");
    events.onmessage = (event) => {
      show("events", event.data);
      socket.send(Number(event.data) < 3 ? "next" : "enough");
    };
  };
</script>
"""

app = FastAPI()
wanted = asyncio.Queue()


@app.get("/", response_class=HTMLResponse)
def page():
    return PAGE


@app.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(f"echo of {text}")
            if text == "next":
                await wanted.put(text)
    except WebSocketDisconnect:
        pass


@app.get("/events")
def events():
    async def numbers():
        number = 1
        while True:
            yield f"data: {number}\n\n"
            await wanted.get()
            number += 1

    return StreamingResponse(numbers(), media_type="text/event-stream")


@app.get("/items/{number}")
def item(number: int):
    return {"number": number}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), timeout_graceful_shutdown=1)
