//! How each peer is started: its configuration comes from `bench/peers/`, with the ports of this run.

use std::fs;
use std::path::PathBuf;

use super::{Server, free_port, pinned};
use crate::fault::Fault;

/// nats-server with a WebSocket listener; the address is that listener's.
pub(crate) fn nats(name: &str, core: Option<usize>) -> Result<Server, Fault> {
    let (websocket, plain) = (free_port()?, free_port()?);
    let text = include_str!("../../peers/nats.conf")
        .replace("@WEBSOCKET@", &websocket.to_string())
        .replace("@PLAIN@", &plain.to_string());
    let (folder, file) = configured(name, &text)?;
    let mut command = pinned(core, "nats-server");
    command.arg("-c").arg(file);
    Server::spawn(name, command, websocket, Some(folder))?.ready()
}

/// Mosquitto with a WebSocket listener.
pub(crate) fn mosquitto(core: Option<usize>) -> Result<Server, Fault> {
    let (addr, plain) = (free_port()?, free_port()?);
    let text = include_str!("../../peers/mosquitto.conf")
        .replace("@WEBSOCKET@", &addr.port().to_string())
        .replace("@PLAIN@", &plain.port().to_string());
    let (folder, file) = configured("mosquitto", &text)?;
    let mut command = pinned(core, "mosquitto");
    command.arg("-c").arg(file);
    Server::spawn("mosquitto", command, addr, Some(folder))?.ready()
}

/// nginx as reverse proxy in front of `stub`, with this many worker processes.
pub(crate) fn nginx(name: &str, stub: Server, workers: usize, core: Option<usize>) -> Result<Server, Fault> {
    start_nginx(name, stub, workers, core, "")
}

/// The same before a WebSocket echo, which cares for the `Host`; with buffers that hold four messages of 16 KiB.
pub(crate) fn nginx_ws(
    name: &str,
    echo: Server,
    workers: usize,
    core: Option<usize>,
) -> Result<Server, Fault> {
    start_nginx(
        name,
        echo,
        workers,
        core,
        "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_set_header Host $http_host;",
    )
}

/// The same before somebody who sends and takes long bodies, none of which is kept on the way.
pub(crate) fn nginx_stream(name: &str, source: Server, core: Option<usize>) -> Result<Server, Fault> {
    let more = "client_max_body_size 0; proxy_request_buffering off; client_body_buffer_size 256k; \
                proxy_max_temp_file_size 0; proxy_buffer_size 64k; proxy_buffers 8 64k;";
    start_nginx(name, source, 1, core, more)
}

fn start_nginx(
    name: &str,
    upstream: Server,
    workers: usize,
    core: Option<usize>,
    more: &str,
) -> Result<Server, Fault> {
    let addr = free_port()?;
    let text = include_str!("../../peers/nginx.conf")
        .replace("@WORKERS@", &workers.to_string())
        .replace("@LISTEN@", &addr.to_string())
        .replace("@UPSTREAM@", &upstream.addr.to_string())
        .replace("@MORE@", more);
    let (folder, file) = configured(name, &text)?;
    let mut command = pinned(core, "nginx");
    command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(file);
    in_front(upstream, Server::spawn(name, command, addr, Some(folder))?)
}

/// HAProxy as reverse proxy in front of `stub`.
pub(crate) fn haproxy(name: &str, stub: Server, core: Option<usize>) -> Result<Server, Fault> {
    start_haproxy(name, stub, core, "")
}

/// The same before a WebSocket echo, with buffers that hold four messages of 16 KiB.
pub(crate) fn haproxy_ws(name: &str, echo: Server, core: Option<usize>) -> Result<Server, Fault> {
    start_haproxy(name, echo, core, "tune.bufsize 65536")
}

/// The same before somebody who sends and takes long bodies.
pub(crate) fn haproxy_stream(name: &str, source: Server, core: Option<usize>) -> Result<Server, Fault> {
    start_haproxy(name, source, core, "tune.bufsize 262144")
}

fn start_haproxy(name: &str, upstream: Server, core: Option<usize>, more: &str) -> Result<Server, Fault> {
    let addr = free_port()?;
    let text = include_str!("../../peers/haproxy.cfg")
        .replace("@LISTEN@", &addr.to_string())
        .replace("@UPSTREAM@", &upstream.addr.to_string())
        .replace("@MORE@", more);
    let (folder, file) = configured(name, &text)?;
    let mut command = pinned(core, "haproxy");
    command.arg("-db").arg("-f").arg(file);
    in_front(upstream, Server::spawn(name, command, addr, Some(folder))?)
}

/// frp before `app`: frps, and frpc that brings it, counted together.
pub(crate) fn frp(name: &str, app: Server, core: Option<usize>) -> Result<Server, Fault> {
    let (control, front) = (free_port()?, free_port()?);
    let with_ports = |text: &str| {
        text.replace("@CONTROL@", &control.port().to_string())
            .replace("@LISTEN@", &front.port().to_string())
            .replace("@UPSTREAM@", &app.addr.port().to_string())
    };
    let (folder, file) = configured(name, &with_ports(include_str!("../../peers/frps.toml")))?;
    let mut command = pinned(core, "frps");
    command.arg("-c").arg(file);
    let frps = Server::spawn(name, command, front, Some(folder))?;
    let (folder, file) =
        configured(&format!("{name}-client"), &with_ports(include_str!("../../peers/frpc.toml")))?;
    let mut command = pinned(core, "frpc");
    command.arg("-c").arg(file);
    let mut frps = frps.ready()?;
    let (mut frpc, ()) =
        Server::telling("frpc", command, |line| line.contains("start proxy success").then_some(()))?;
    frpc.folder = Some(folder);
    frps.helper = Some(Box::new(frpc));
    frps.behind = Some(Box::new(app));
    Ok(frps)
}

/// The hub's gateway with the endpoint `echo`.
pub(crate) fn gateway(name: &str, binary: &str, echo: Server, core: Option<usize>) -> Result<Server, Fault> {
    let text = format!("[[endpoints]]\nname = \"echo\"\nurl = \"ws://{}{}\"\n", echo.addr, echo.echo_path);
    let (folder, file) = configured(name, &text)?;
    let mut command = pinned(core, binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(file);
    let mut server = Server::announced(name, command)?;
    server.folder = Some(folder);
    server.echo_path = "/gateway/echo".to_owned();
    server.behind = Some(Box::new(echo));
    Ok(server)
}

fn in_front(stub: Server, proxy: Server) -> Result<Server, Fault> {
    let mut proxy = proxy.ready()?;
    proxy.echo_path.clone_from(&stub.echo_path);
    proxy.behind = Some(Box::new(stub));
    Ok(proxy)
}

/// A folder of its own for a peer, and its configuration in it.
fn configured(name: &str, text: &str) -> Result<(PathBuf, PathBuf), Fault> {
    let folder = std::env::temp_dir().join(format!("whub-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Fault::io(format!("make {}", folder.display())))?;
    let file = folder.join("peer.conf");
    fs::write(&file, text).map_err(Fault::io(format!("write {}", file.display())))?;
    Ok((folder, file))
}
