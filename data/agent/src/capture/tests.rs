use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CaptureArgs,
}

fn args(line: &str) -> CaptureArgs {
    let words = std::iter::once("istio-iptables").chain(line.split(' ').filter(|word| !word.is_empty()));
    Line::try_parse_from(words.map(|word| if word == "''" { "" } else { word })).unwrap().args
}

fn options(line: &str, mark: Option<u32>) -> Result<Options, OptionsError> {
    let users = |name: &str| (name == "envoy").then_some(1500);
    let groups = |name: &str| (name == "java").then_some(700);
    let resolvers = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
    Options::new(&args(line), &Surroundings { mark, users: &users, groups: &groups, resolvers })
}

/// All three texts of a plan, and what `ip` is told.
fn texts(plan: &Plan) -> String {
    let mut text = format!("## iptables-restore\n{}", restore(plan, Family::V4, ""));
    text += &format!("## ip6tables-restore\n{}", restore(plan, Family::V6, ""));
    text += &format!("## nft\n{}", script(plan, &Family::ALL));
    for (family, line) in &plan.routing {
        text += &format!("## {}{line}\n", if *family == Family::V6 { "ip -6 " } else { "ip " });
    }
    text
}

const SIDECAR: &str = "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x '' -b * -d 15090,15021,15020";

#[test]
fn layouts() {
    let cases = [
        ("nothing", "", None),
        ("sidecar", SIDECAR, None),
        ("mark", SIDECAR, Some(1337)),
        ("inbound-include", "-i * -b 80,443 -d 81", None),
        ("inbound-none", "-i *", None),
        ("outbound-include", "-b * -i 10.0.0.0/8,fd00::/8 -q 9000", None),
        ("outbound-exclude", "-b * -i * -x 10.1.0.0/16,fd01::/16 -o 3306,5432", None),
        ("outbound-loopback", "-b * -i 127.1.2.0/24 -u 1337", None),
        ("loopback-cidr", "-b * -i * --istio-outbound-ipv4-loopback-cidr 127.0.0.0/8", None),
        ("interfaces", "-b * -i * -c eth1,eth2 -k tun0,tun1", None),
        ("interfaces-include", "-b * -i 10.0.0.0/8,fd00::/8 -k tun0", None),
        ("interfaces-tproxy", "-m TPROXY -b * -i * -c eth1", None),
        ("users", "-b * -i * -u 3,4 -g 1,2", None),
        ("dns", "-b * -i * -u 3 -g 4 --redirect-dns", None),
        ("dns-all", "-b * -i * --redirect-dns --capture-all-dns", None),
        ("dns-mark", "-b * -i * --redirect-dns", Some(1337)),
        ("tproxy", "-m TPROXY -i * -b * -d 15020", None),
        ("tproxy-ports", "-m TPROXY -i * -b 80,443 -t 2000 -r 200", None),
        ("groups-include", "-b * -i * --owner-groups-include java,202", None),
        (
            "groups-exclude",
            "-b * -i * --owner-groups-exclude java,202 --redirect-dns --capture-all-dns",
            None,
        ),
        ("drop-invalid", "-b * -i * --drop-invalid", None),
    ];
    for (name, line, mark) in cases {
        let plan = plan(&options(line, mark).unwrap());
        crate::golden::check(&format!("capture-{name}.txt"), &texts(&plan));
    }
}

#[test]
fn the_proxys_user_may_be_named() {
    assert_eq!(options("--envoy-user envoy", None).unwrap().bypass, [Bypass::Uid(1500), Bypass::Gid(1500)]);
    assert_eq!(options("--envoy-user ghost", None).unwrap().bypass, [Bypass::Uid(1337), Bypass::Gid(1337)]);
    assert_eq!(options("-u envoy -g java", None).unwrap().bypass, [Bypass::Uid(1500), Bypass::Gid(700)]);
}

#[test]
fn without_a_resolver_dns_is_not_captured() {
    let none = Surroundings { mark: None, users: &|_| None, groups: &|_| None, resolvers: Vec::new() };
    assert_eq!(Options::new(&args("--redirect-dns"), &none).unwrap().dns, Resolvers::None);
    assert_eq!(Options::new(&args("--redirect-dns --capture-all-dns"), &none).unwrap().dns, Resolvers::All);
    let text =
        "# local\nsearch a.b\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver x\noptions ndots:5\n";
    let servers: Vec<String> = apply::servers(text).iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2", "fe80::1"]);
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
        ("--owner-groups-include nobody-here", "--owner-groups-include"),
        (
            "--istio-outbound-ipv4-loopback-cidr 10.0.0.0/8",
            "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR \"10.0.0.0/8\"",
        ),
    ];
    for (line, expected) in table {
        let error = options(line, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
    let error = options("-m TPROXY", Some(1337)).unwrap_err().to_string();
    assert!(error.contains("REDIRECT"), "{error}");
}

#[test]
fn a_second_run_replaces_what_the_first_wrote() {
    let plan = plan(&options(SIDECAR, None).unwrap());
    let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:ISTIO_OUTPUT - [0:0]\n\
        :ISTIO_OLD - [0:0]\n-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A PREROUTING -j DOCKER\n\
        -A OUTPUT -p tcp -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n";
    let text = restore(&plan, Family::V4, saved);
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
    let options = options("-m TPROXY -i * -b * -c eth1 --redirect-dns", None).unwrap();
    let plan = plan(&options);
    let foreign = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";
    assert_eq!(cleanup(&plan, foreign), "");
    let text = cleanup(&plan, &(restore(&plan, Family::V4, "") + foreign));
    assert!(text.contains("-D PREROUTING -i eth1 -j RETURN\n"), "{text}");
    assert!(text.contains("-D OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark\n"), "{text}");
    // As the kernel tells it.
    let saved = "*mangle\n-A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff\n\
        -A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n\
        -A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
    let told = cleanup(&plan, saved);
    assert_eq!(told.matches("-D OUTPUT").count(), 2, "{told}");
    assert!(
        text.contains("-D OUTPUT -j ISTIO_OUTPUT_DNS\n") && text.contains("-X ISTIO_OUTPUT_DNS\n"),
        "{text}"
    );
    assert!(text.contains("-X ISTIO_TPROXY\n") && !text.contains("MASQUERADE") && !text.contains("-A"));
    assert!(plan.undo().contains(&(Family::V4, "rule del fwmark 1337 lookup 133".to_owned())));
}
