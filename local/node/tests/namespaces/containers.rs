//! Containers by themselves.

use meltemi_node::container::runtime::{self, Io, IoWish};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::World;

pub(crate) async fn containers_run_and_report_their_end(world: World) {
    let script =
        "echo out; echo err >&2; hostname; pwd; id -u; ls /usr/local/bin; ls -d /proc/[0-9]*; exit 3";
    let (code, text) = world.output(&["sh", "-c", script]).await;
    assert_eq!(code, 3, "{text}");
    for line in ["out", "err", "tester", "/work", "0", "applet", "meltemi", "/proc/1"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is missing in {text}");
    }
    assert_eq!(world.output(&["sh", "-c", "kill -9 $$"]).await.0, 137);
    let (code, text) = world.output(&["sh", "-c", "touch /usr/bin/x; touch /tmp/y && echo wrote"]).await;
    assert!(code == 0 && text.contains("Read-only") && text.contains("wrote"), "{text}");
}

pub(crate) async fn a_missing_program_is_named(world: World) {
    let pod = world.pod().await;
    let wish = IoWish { stdin: false, terminal: false };
    let error =
        runtime::run(world.container(&["nonesuch"]), pod.namespace(), wish).await.err().unwrap().to_string();
    assert!(error.contains("nonesuch") && error.contains("not found in $PATH"), "{error}");
}

pub(crate) async fn signals_reach_the_program(world: World) {
    let pod = world.pod().await;
    let (running, _) = world.start(pod.namespace(), &["sleep", "1000"]).await;
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait().await, 143);
    let (running, _) =
        world.start(pod.namespace(), &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).await;
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(running.wait().await, 137);
}

pub(crate) async fn exec_sees_the_container(world: World) {
    let pod = world.pod().await;
    let (running, _) = world.start(pod.namespace(), &["sleep", "1000"]).await;
    let mut process = world.container(&["sh", "-c", "cat /proc/2/comm; hostname; exit 4"]).process;
    process.cwd = "/".into();
    let output = runtime::exec_output(running.pid(), process).await.unwrap();
    assert_eq!((output.code, output.text.as_str()), (4, "sleep\ntester\n"));
}

pub(crate) async fn terminals_work(world: World) {
    let pod = world.pod().await;
    let mut container = world.container(&["sh", "-c", "tty; stty size; read line; echo got $line"]);
    container.process.terminal = true;
    let wish = IoWish { stdin: true, terminal: true };
    let (running, io) = runtime::run(container, pod.namespace(), wish).await.unwrap();
    let Io::Terminal(mut terminal) = io else { panic!("no terminal") };
    terminal.write_all(b"hello\n").await.unwrap();
    let mut text = String::new();
    terminal.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("got hello"), "{text}");
    assert!(text.contains("/dev/pts/0"), "a terminal of the container's own: {text}");
    assert_eq!(running.wait().await, 0);
}
