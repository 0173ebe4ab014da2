//! pip with a package index behind the proxy.

use crate::{
    application::{Application, output, python},
    instance::Home,
    ports::free_port,
};

const WHEEL: &str = "hello_from_a_test-1.2.3-py3-none-any.whl";

/// Makes an index with one package, a wheel.
fn make_index(home: &Home) {
    home.write("hello_from_a_test.py", "");
    let info = "hello_from_a_test-1.2.3.dist-info";
    let metadata = "Metadata-Version: 2.1\nName: hello-from-a-test\nVersion: 1.2.3\n";
    home.write(&format!("{info}/METADATA"), metadata);
    home.write(
        &format!("{info}/WHEEL"),
        "Wheel-Version: 1.0\nTag: py3-none-any\n",
    );
    home.write(&format!("{info}/RECORD"), "");
    home.write(
        "index/simple/hello-from-a-test/index.html",
        &format!("<!doctype html><a href=\"../../files/{WHEEL}\">{WHEEL}</a>"),
    );
    home.write("index/files/.keep", "");
    let mut zip = python(home, "none");
    zip.args(["-m", "zipfile", "-c"]);
    zip.arg(format!("index/files/{WHEEL}"));
    zip.args(["hello_from_a_test.py", info]);
    output(zip);
}

pub(crate) fn downloads_a_package() {
    let home = Home::new();
    make_index(&home);
    let port = free_port();
    let mut server = python(&home, "none");
    server.args([
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
        "index",
    ]);
    let index = Application::start_on(port, &home, {
        server.arg(port.to_string());
        server
    });
    let proxy = home.start(&index.url(), &[]);
    for directory in ["first", "second"] {
        let mut pip = python(&home, "none");
        pip.args([
            "-m",
            "pip",
            "--isolated",
            "--disable-pip-version-check",
            "download",
            "--no-cache-dir",
            "--no-deps",
        ]);
        pip.arg(format!(
            "--index-url=http://127.0.0.1:{}/simple/",
            proxy.port
        ));
        pip.args(["--dest", directory, "hello-from-a-test"]);
        output(pip);
        assert!(home.path("work").join(directory).join(WHEEL).exists());
    }
    // pip validates the page of the package. The wheel is the same file for ever.
    let seen = index.output();
    let page = "\"GET /simple/hello-from-a-test/ HTTP/1.1\"";
    assert_eq!(seen.matches(&format!("{page} 200")).count(), 1, "{seen}");
    assert_eq!(seen.matches(&format!("{page} 304")).count(), 1, "{seen}");
    assert_eq!(
        seen.matches(&format!("\"GET /files/{WHEEL}")).count(),
        1,
        "{seen}"
    );
}
