//! Both sides together: instances in this process, commands in threads of their own.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{
        fs::symlink,
        net::{UnixDatagram, UnixListener},
    },
    path::Path,
    sync::{Arc, Barrier},
};

use actix_web::rt::{System, task::spawn_blocking};
use tokio::sync::watch;

use super::{
    choose::choose_in,
    commands::{clear_in, holder_in},
    directories::SocketDirectories,
    lock::{IfNoFile, InstanceLock, InstanceName, LockAttempt},
    *,
};
use crate::{
    admin::ClearRequest,
    cache::Cache,
    config::{Config, ConfigLoader, Flags},
    policy::IdentitySecret,
    proxy::Shared,
    reload::{ActiveConfig, Reload},
};

fn surroundings(root: &Path) -> SocketDirectories {
    SocketDirectories {
        uid: rustix::process::geteuid().as_raw(),
        runtime_dir: None,
        run_user: root.join("run"),
        temp_dir: root.to_owned(),
        system_temp_dir: root.to_owned(),
    }
}

fn config(port: u16) -> Config {
    Config {
        port,
        ..Config::for_origin("https://dummyjson.com".parse().unwrap())
    }
}

fn listen_in(
    surroundings: &SocketDirectories,
    shared: Arc<Shared>,
) -> Result<Control, ControlError> {
    let in_force = watch::channel(shared.in_force.borrow().clone()).0;
    let loader = ConfigLoader::new(Flags::new(), Config::load_everything);
    let reload = Reload::new(loader, in_force, shared.cache.clone(), None);
    let config = shared.config();
    let address = SocketAddr::new(config.bind.first(), config.port);
    let origin = config.origins.first().to_string();
    super::server::ControlSocket::open_in(surroundings, address, origin)?.serve(shared, reload)
}

fn cache() -> Cache {
    let cache = Cache::new(1 << 20, 1 << 18);
    cache.start();
    cache
}

fn shared_with(port: u16, cache: Cache) -> Arc<Shared> {
    let config = Arc::new(config(port));
    let (_, in_force) = watch::channel(ActiveConfig::new(Arc::clone(&config)));
    Arc::new(Shared::new(&config, in_force, cache, IdentitySecret::new()).unwrap())
}

fn shared(port: u16) -> Arc<Shared> {
    shared_with(port, cache())
}

async fn clear_from(root: &Path, port: Option<u16>) -> ClearReport {
    let surroundings = surroundings(root);
    spawn_blocking(move || clear_in(&surroundings, port, ClearRequest::default()))
        .await
        .unwrap()
}

async fn holder_from(root: &Path, address: &str) -> Option<Instance> {
    let (surroundings, address) = (surroundings(root), address.parse().unwrap());
    spawn_blocking(move || holder_in(&surroundings, address))
        .await
        .unwrap()
}

fn ports(report: &ClearReport) -> Vec<u16> {
    report
        .cleared
        .iter()
        .map(|cleared| cleared.instance.port)
        .collect()
}

#[test]
fn clear_reaches_every_instance_or_all_on_a_port() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let listen = |port| listen_in(&surroundings, shared(port)).unwrap();
        let controls = [listen(8000), listen(8001), listen(8001)];
        let report = clear_from(root.path(), None).await;
        assert_eq!(ports(&report), [8000, 8001, 8001]);
        assert!(report.failed.is_empty() && report.refused.is_empty());
        assert_eq!(
            ports(&clear_from(root.path(), Some(8001)).await),
            [8001, 8001]
        );
        assert_eq!(ports(&clear_from(root.path(), Some(8002)).await), [0; 0]);
        for control in controls {
            control.stop().await;
        }
        assert_eq!(ports(&clear_from(root.path(), None).await), [0; 0]);
        let dir = surroundings.make().unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    });
}

#[test]
fn the_holder_is_the_instance_whose_address_conflicts() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let control = listen_in(&surroundings(root.path()), shared(8000)).unwrap();
        let holder = holder_from(root.path(), "127.0.0.1:8000").await.unwrap();
        assert_eq!(holder.origin, "https://dummyjson.com");
        assert_eq!(holder.pid, std::process::id());
        assert!(holder_from(root.path(), "0.0.0.0:8000").await.is_some());
        assert!(holder_from(root.path(), "127.0.0.2:8000").await.is_none());
        assert!(holder_from(root.path(), "127.0.0.1:8001").await.is_none());
        drop(control);
        assert!(holder_from(root.path(), "127.0.0.1:8000").await.is_none());
    });
}

#[test]
fn files_of_killed_instances_are_removed_without_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    let dir = surroundings.make().unwrap();
    for left in ["8000.lock", "8001.lock"] {
        fs::write(dir.join(left), "{").unwrap();
    }
    for left in ["8000.sock", "8002.sock"] {
        drop(UnixListener::bind(dir.join(left)).unwrap());
    }
    let report = clear_in(&surroundings, None, ClearRequest::default());
    assert!(report.cleared.is_empty() && report.failed.is_empty() && report.refused.is_empty());
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn an_instance_without_its_lock_file_is_still_cleared() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let _control = listen_in(&surroundings, shared(8000)).unwrap();
        fs::remove_file(surroundings.make().unwrap().join("8000.lock")).unwrap();
        assert_eq!(ports(&clear_from(root.path(), None).await), [8000]);
        assert_eq!(ports(&clear_from(root.path(), None).await), [8000]);
    });
}

#[test]
fn a_second_instance_does_not_take_the_socket_of_one_without_its_lock_file() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let dir = surroundings.make().unwrap();
        let first = listen_in(&surroundings, shared(8000)).unwrap();
        fs::remove_file(dir.join("8000.lock")).unwrap();
        let second = listen_in(&surroundings, shared(8000)).unwrap();
        assert_eq!(ports(&clear_from(root.path(), None).await), [8000, 8000]);
        first.stop().await;
        assert_eq!(ports(&clear_from(root.path(), None).await), [8000]);
        second.stop().await;
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    });
}

#[test]
fn a_lock_that_is_not_a_file_does_not_keep_others_from_being_cleared() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let dir = surroundings.make().unwrap();
        symlink("/nowhere", dir.join("8000.lock")).unwrap();
        let refused = listen_in(&surroundings, shared(8000));
        assert!(matches!(refused, Err(ControlError::NoLockFile { .. })));
        let _control = listen_in(&surroundings, shared(8001)).unwrap();
        let report = clear_from(root.path(), None).await;
        assert_eq!(ports(&report), [8001]);
        assert_eq!((report.failed.len(), report.failed[0].port), (1, 8000));
        assert!(matches!(
            report.failed[0].error,
            ControlError::NoLockFile { .. }
        ));
    });
}

#[test]
fn a_socket_whose_owner_is_running_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    let socket = surroundings.make().unwrap().join("8000.sock");
    // The kernel refuses a stream to a socket of datagrams, alive as its owner is.
    let _owner = UnixDatagram::bind(&socket).unwrap();
    let report = clear_in(&surroundings, None, ClearRequest::default());
    assert!(matches!(
        report.failed[0].error,
        ControlError::Connect { .. }
    ));
    assert!(socket.exists());
}

#[test]
fn instances_are_cleared_at_the_same_time_and_reported_in_order() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    let dir = surroundings.make().unwrap();
    let all_were_asked = Barrier::new(3);
    std::thread::scope(|scope| {
        let answering = [8000, 8001, 8002].map(|port| {
            let mut lock = InstanceLock::take(&dir, port).unwrap();
            let listener = lock.listen().unwrap();
            let all_were_asked = &all_were_asked;
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                all_were_asked.wait();
                stream
                    .write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
                    .unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                (lock, stream)
            })
        });
        let report = clear_in(&surroundings, None, ClearRequest::default());
        let ports: Vec<u16> = report.failed.iter().map(|failed| failed.port).collect();
        assert_eq!(ports, [8000, 8001, 8002]);
        for failed in report.failed {
            assert!(matches!(failed.error, ControlError::Status { status: 500 }));
        }
        // An instance that has ended is no failure, and one that has not read all may reset: they stay until now.
        for thread in answering {
            drop(thread.join().unwrap());
        }
    });
}

#[test]
fn a_running_instance_that_refuses_is_reported_as_failed() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    let mut lock = InstanceLock::take(&surroundings.make().unwrap(), 8000).unwrap();
    let instance = Instance {
        pid: 7,
        port: 8000,
        bind: "127.0.0.1".parse().unwrap(),
        https_port: None,
        requires_https: false,
        origin: "https://dummyjson.com".to_owned(),
        version: "0.1.0".to_owned(),
        started: "2026-11-23T03:30:00+00:00".to_owned(),
    };
    lock.describe(&instance).unwrap();
    let listener = lock.listen().unwrap();
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 1024]).unwrap();
            assert!(read > 0);
            stream
                .write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
                .unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream
        });
        let report = clear_in(&surroundings, None, ClearRequest::default());
        drop(answering.join().unwrap());
        assert!(report.cleared.is_empty());
        assert_eq!(report.failed[0].instance.as_ref(), Some(&instance));
    });
}

#[test]
fn an_instance_that_ends_during_the_request_has_not_failed() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    let mut lock = InstanceLock::take(&surroundings.make().unwrap(), 8000).unwrap();
    let listener = lock.listen().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            drop(listener.accept().unwrap());
            drop(lock);
        });
        let report = clear_in(&surroundings, None, ClearRequest::default());
        assert!(report.cleared.is_empty() && report.failed.is_empty());
    });
}

#[test]
fn an_instance_without_its_cache_responds_with_503() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        // No worker has started the actor.
        let cache = Cache::new(1 << 20, 1 << 18);
        let _control = listen_in(&surroundings(root.path()), shared_with(8000, cache)).unwrap();
        let report = clear_from(root.path(), None).await;
        assert!(matches!(
            report.failed[0].error,
            ControlError::Status { status: 503 }
        ));
    });
}

#[test]
fn other_paths_and_methods_get_404() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let _control = listen_in(&surroundings, shared(8000)).unwrap();
        let socket = surroundings.make().unwrap().join("8000.sock");
        let status = |line: &'static str| {
            let socket = socket.clone();
            spawn_blocking(move || {
                let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
                write!(stream, "{line} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer.split(' ').nth(1).unwrap().to_owned()
            })
        };
        for (line, expected) in [
            ("GET /instance", "200"),
            ("POST /clear", "200"),
            ("GET /", "404"),
            ("GET /clear", "404"),
            ("POST /instance", "404"),
        ] {
            assert_eq!(status(line).await.unwrap(), expected, "{line}");
        }
    });
}

#[test]
fn a_name_is_free_again_after_its_instance_has_stopped() {
    let root = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let surroundings = surroundings(root.path());
        let control = listen_in(&surroundings, shared(8000)).unwrap();
        let name = InstanceName::all_in(&surroundings.make().unwrap())
            .unwrap()
            .remove(0);
        assert!(matches!(
            name.lock(IfNoFile::Skip).unwrap(),
            LockAttempt::HeldElsewhere
        ));
        control.stop().await;
        assert!(matches!(
            name.lock(IfNoFile::Skip).unwrap(),
            LockAttempt::NoFile
        ));
    });
}

#[test]
fn a_command_that_comes_before_the_socket_is_served_waits() {
    let root = tempfile::tempdir().unwrap();
    let surroundings = surroundings(root.path());
    System::new().block_on(async {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        let socket =
            super::server::ControlSocket::open_in(&surroundings, address, String::new()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let command = spawn_blocking(move || {
            sender.send(()).unwrap();
            choose_in(&surroundings, Some(8000)).map(|chosen| chosen.instance.port)
        });
        spawn_blocking(move || receiver.recv().unwrap())
            .await
            .unwrap();
        let shared = shared(8000);
        let in_force = watch::channel(shared.in_force.borrow().clone()).0;
        let cache = shared.cache.clone();
        let loader = ConfigLoader::new(Flags::new(), Config::load_everything);
        let reload = Reload::new(loader, in_force, cache, None);
        let _control = socket.serve(shared, reload).unwrap();
        assert_eq!(command.await.unwrap().unwrap(), 8000);
    });
}
