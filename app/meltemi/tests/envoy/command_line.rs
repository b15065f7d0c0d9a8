//! The flags that people start Envoy with.

use std::process::Output;

use super::proxy::{PLANES, Plane, file};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn files_are_checked_without_being_served() {
    for plane in PLANES {
        for name in ["simple.yaml", "rules.yaml"] {
            let (path, _) = file(name);
            let output = plane.run(&["--mode", "validate", "-c", path.to_str().unwrap(), "-l", "error"]);
            assert!(output.status.success(), "{plane:?} {name}: {}", text(&output));
            assert!(text(&output).contains(&format!("configuration '{}' OK", path.display())), "{plane:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let (_, good) = file("simple.yaml");
    let files = tempfile::tempdir().unwrap();
    for (change, to, named) in [
        ("stat_prefix: ingress_http", "stat_prefixx: a", "stat_prefixx"),
        ("cluster: httpbin_service\n", "cluster: other\n", "unknown cluster 'other'"),
        ("lb_policy: ROUND_ROBIN", "lb_policy: ROUND_ROBBIN", "ROUND_ROBBIN"),
        ("connect_timeout: 5s", "connect_timeout: -5s", ""),
        ("route_config:", "route_confi\n          x: y", ""),
    ] {
        let path = files.path().join("wrong.yaml");
        std::fs::write(&path, good.replace(change, to)).unwrap();
        for plane in PLANES {
            for mode in ["validate", "serve"] {
                let output = plane.run(&["--mode", mode, "-c", path.to_str().unwrap(), "-l", "error"]);
                assert!(!output.status.success(), "{plane:?} {to}");
                assert!(text(&output).contains(named), "{plane:?} {to}: {}", text(&output));
            }
        }
    }
}

#[test]
fn a_wrong_field_is_found_by_its_line() {
    let (_, good) = file("simple.yaml");
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("wrong.yaml");
    let wrong = good.replace("stat_prefix: ingress_http", "stat_prefixx: a");
    std::fs::write(&path, &wrong).unwrap();
    let line = 1 + wrong.lines().position(|line| line.contains("stat_prefixx")).unwrap();
    let said = text(&Plane::Meltemi.run(&["-c", path.to_str().unwrap()]));
    for part in ["wrong.yaml", "stat_prefixx", &format!("line {line}")] {
        assert!(said.contains(part), "no {part}: {said}");
    }
}

#[test]
fn the_node_is_named_and_configuration_merged_by_flags() {
    let (path, written) = file("simple.yaml");
    for plane in PLANES {
        let files = tempfile::tempdir().unwrap();
        let log = files.path().join("log");
        let admin = files.path().join("admin");
        let more = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
                    static_resources: { listeners: [{ name: web, address: { socket_address: { port_value: 0 } } }] }";
        // The second listener has no filters, which is an error that only the merged whole has.
        let output = plane.run(&["--mode", "validate", "-c", path.to_str().unwrap(), "--config-yaml", more]);
        assert!(!output.status.success(), "{plane:?}");
        let config = files.path().join("free.yaml");
        std::fs::write(&config, written.replace("15000", "0").replace("15001", "0")).unwrap();
        let own = "node: { id: other, locality: { region: r1 } }";
        let mut child = plane
            .command()
            .arg("-c")
            .arg(&config)
            .args([
                "--config-yaml",
                own,
                "--service-cluster",
                "shop",
                "--service-node",
                "front",
                "--service-zone",
                "z1",
            ])
            .args([
                "-l",
                "debug",
                "--concurrency",
                "1",
                "--drain-time-s",
                "1",
                "--component-log-level",
                "upstream:info",
            ])
            .arg("--admin-address-path")
            .arg(&admin)
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let info = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let address = std::fs::read_to_string(&admin).ok().filter(|text| text.contains(':'))?;
            super::client::request(&address, "GET", "/server_info", &[]).ok()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let info = info.expect("the admin interface answers").body;
        for part in ["\"shop\"", "\"front\"", "\"z1\"", "\"r1\""] {
            assert!(info.contains(part), "{plane:?}: no {part} in {info}");
        }
        let log = std::fs::read_to_string(&log).unwrap().to_lowercase();
        assert!(log.contains("debug"), "{plane:?}: {log}");
    }
}
