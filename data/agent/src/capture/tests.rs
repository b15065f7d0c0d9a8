use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CaptureArgs,
}

fn options(line: &str, mark: Option<u32>) -> Result<Options, OptionsError> {
    let words = std::iter::once("istio-iptables").chain(line.split(' ').filter(|word| !word.is_empty()));
    let words = words.map(|word| if word == "''" { "" } else { word });
    let args = Line::try_parse_from(words).unwrap().args;
    Options::new(&args, mark, &|name| (name == "istio-proxy").then_some(1337), &|_| None)
}

const SIDECAR: &str = "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x '' -b * -d 15090,15021,15020";

#[test]
fn layouts() {
    let cases = [
        ("sidecar", SIDECAR, None),
        ("mark", SIDECAR, Some(1337)),
        ("tproxy", "-u 1337 -m TPROXY -i * -b * -d 15020", None),
        (
            "lists",
            "-u istio-proxy -g 1337 -b 80,443 -i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16 -o 3306 -q 9000 -c eth1 -k tun0 --drop-invalid",
            None,
        ),
        ("outbound-only", "-i *", None),
    ];
    for (name, line, mark) in cases {
        let options = options(line, mark).unwrap();
        let text = format!("{}\n{}", plan(&options, Family::V4), plan(&options, Family::V6));
        crate::golden::check(&format!("capture-{name}.txt"), &text);
    }
}

#[test]
fn wrong_flags_are_named() {
    let table = [
        ("-b 80,http", "-b \"http\""),
        ("-d 0", "-d \"0\""),
        ("-o 70000", "-o \"70000\""),
        ("-i 10.0.0/8", "-i \"10.0.0/8\""),
        ("-m BPF", "REDIRECT or TPROXY"),
        ("-u nobody-here", "-u \"nobody-here\""),
        ("-c eth0;reboot", "-c \"eth0;reboot\""),
    ];
    for (line, expected) in table {
        let error = options(line, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_second_run_replaces_what_the_first_wrote() {
    let plan = plan(&options(SIDECAR, None).unwrap(), Family::V4);
    let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:ISTIO_OUTPUT - [0:0]\n\
        :ISTIO_OLD - [0:0]\n-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A PREROUTING -j DOCKER\n\
        -A OUTPUT -p tcp -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n";
    let text = restore(&plan, saved);
    for line in [
        "-D PREROUTING -p tcp -j ISTIO_INBOUND",
        "-D OUTPUT -p tcp -j ISTIO_OUTPUT",
        "-F ISTIO_OLD",
        "-X ISTIO_OLD",
    ] {
        assert!(text.lines().any(|got| got == line), "{line} not in\n{text}");
    }
    assert!(!text.contains("DOCKER") && !text.contains("-D ISTIO"));
}

#[test]
fn cleaning_up_takes_ours_and_leaves_the_rest() {
    let options = options("-m TPROXY -i * -b * -c eth1", None).unwrap();
    let plan = plan(&options, Family::V4);
    let foreign = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";
    assert_eq!(cleanup(&plan, foreign), "");
    let text = cleanup(&plan, &(restore(&plan, "") + foreign));
    assert!(text.contains("-D PREROUTING -i eth1 -j RETURN\n"), "{text}");
    assert!(text.contains("-D OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark\n"), "{text}");
    assert!(text.contains("-X ISTIO_TPROXY\n") && !text.contains("MASQUERADE") && !text.contains("-A"));
    assert_eq!(undo(&plan)[1], "rule del fwmark 1337 lookup 133");
}
