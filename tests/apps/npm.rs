//! npm with a registry behind the proxy.

use std::process::Command;

use crate::{
    application::{Application, command, node, output, source},
    instance::Home,
};

const PACKAGE: &str = "hello-from-a-test";

pub(crate) fn views_and_installs_a_package() {
    let home = Home::new();
    let mut server = node(&home, "npm", source("npm/registry.js"));
    server.arg(home.path("work"));
    let registry = Application::start(&home, server);
    let proxy = home.start(&registry.url(), &[]);
    let npm = |cache: &str, args: &[&str]| -> Command {
        let mut npm = command(&home, "npm");
        npm.args(args)
            .arg(format!("--registry=http://127.0.0.1:{}", proxy.port))
            .args(["--no-audit", "--no-fund", "--no-update-notifier"])
            .env("npm_config_cache", home.path(cache))
            .env("npm_config_globalconfig", home.path("no-npmrc"));
        npm
    };
    // Each time with an empty cache of its own, as on the machines of a CI.
    for cache in ["tmp/first", "tmp/second"] {
        let version = output(npm(cache, &["view", PACKAGE, "version"]));
        assert_eq!(version.trim(), "1.2.3");
    }
    let document = format!("/{PACKAGE}");
    assert_eq!(
        registry
            .output()
            .lines()
            .filter(|line| *line == document)
            .count(),
        1
    );
    // The URL of the tarball in the document is that of the registry. With this setting npm takes the proxy's.
    for prefix in ["first", "second"] {
        let home = home.path("work").join(prefix);
        std::fs::create_dir(&home).unwrap();
        let mut install = npm(&format!("tmp/{prefix}"), &["install", PACKAGE]);
        install
            .arg("--replace-registry-host=always")
            .current_dir(&home);
        output(install);
        assert!(
            home.join("node_modules")
                .join(PACKAGE)
                .join("package.json")
                .exists()
        );
    }
    let seen = registry.output();
    assert_eq!(
        seen.lines().filter(|line| line.ends_with(".tgz")).count(),
        1,
        "{seen}"
    );
}
