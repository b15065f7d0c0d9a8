//! The chains, as Istio documents them: users and support engineers read them by these names.

use super::plan::{Bypass, Interception, Options, Plan, Selection};
use super::rule::{Family, Match, Rule, Table};

/// All our chains begin with this.
pub(super) const PREFIX: &str = "ISTIO_";

const PREROUTING: &str = "PREROUTING";
const OUTPUT: &str = "OUTPUT";
const INBOUND: &str = "ISTIO_INBOUND";
const REDIRECT: &str = "ISTIO_REDIRECT";
const IN_REDIRECT: &str = "ISTIO_IN_REDIRECT";
const ISTIO_OUTPUT: &str = "ISTIO_OUTPUT";
const DIVERT: &str = "ISTIO_DIVERT";
const TPROXY: &str = "ISTIO_TPROXY";
const DROP: &str = "ISTIO_DROP";

const RETURN: &str = "RETURN";

/// The rules of one family.
pub fn plan(options: &Options, family: Family) -> Plan {
    let mut layout = Layout { options, family, rules: Vec::new() };
    layout.exclude_interfaces();
    if options.drop_invalid {
        layout.add(Table::Mangle, PREROUTING, [Match::Tcp, Match::Invalid], DROP);
        layout.add(Table::Mangle, DROP, [], "DROP");
    }
    layout.redirect_chains();
    // Before the jump to the inbound chain: what such an interface brings in is outbound.
    layout.virtual_interfaces();
    layout.inbound();
    layout.outbound();
    if options.mode == Interception::Tproxy {
        layout.keep_marks();
    }
    Plan { family, rules: layout.rules, routing: routing(options) }
}

/// Packets that TPROXY marked belong to this machine, whatever their destination says.
fn routing(options: &Options) -> Vec<String> {
    if options.mode == Interception::Redirect || !captures_inbound(options) {
        return Vec::new();
    }
    let Options { tproxy_mark: mark, tproxy_table: table, .. } = options;
    vec![
        format!("rule add fwmark {mark} lookup {table}"),
        format!("route add local default dev lo table {table}"),
    ]
}

fn captures_inbound(options: &Options) -> bool {
    options.inbound != Selection::Only(Vec::new())
}

struct Layout<'a> {
    options: &'a Options,
    family: Family,
    rules: Vec<Rule>,
}

impl Layout<'_> {
    fn add<const N: usize>(&mut self, table: Table, chain: &'static str, matches: [Match; N], target: &str) {
        self.rules.push(Rule { table, chain, matches: matches.into(), target: target.to_owned() });
    }

    fn nat<const N: usize>(&mut self, chain: &'static str, matches: [Match; N], target: &str) {
        self.add(Table::Nat, chain, matches, target);
    }

    /// Must stand before everything else, so that nothing on these interfaces is touched.
    fn exclude_interfaces(&mut self) {
        for name in &self.options.exclude_interfaces {
            self.nat(PREROUTING, [Match::In(name.clone())], RETURN);
            self.nat(OUTPUT, [Match::Out(name.clone())], RETURN);
            if self.options.mode == Interception::Tproxy {
                self.add(Table::Mangle, PREROUTING, [Match::In(name.clone())], RETURN);
                self.add(Table::Mangle, OUTPUT, [Match::Out(name.clone())], RETURN);
            }
        }
    }

    fn redirect_chains(&mut self) {
        let options = self.options;
        // The tunnel brings traffic that was for the proxy from the start.
        self.nat(INBOUND, [Match::Tcp, Match::Port(options.tunnel_port)], RETURN);
        self.nat(REDIRECT, [Match::Tcp], &format!("REDIRECT --to-ports {}", options.outbound_port));
        self.nat(IN_REDIRECT, [Match::Tcp], &format!("REDIRECT --to-ports {}", options.inbound_port));
    }

    fn inbound(&mut self) {
        if !captures_inbound(self.options) {
            return;
        }
        let (table, capture) = match self.options.mode {
            Interception::Redirect => (Table::Nat, IN_REDIRECT),
            Interception::Tproxy => {
                self.tproxy_chains();
                (Table::Mangle, TPROXY)
            }
        };
        self.add(table, PREROUTING, [Match::Tcp], INBOUND);
        match &self.options.inbound {
            Selection::Only(ports) => {
                for port in ports {
                    self.add(table, INBOUND, [Match::Tcp, Match::Port(*port)], capture);
                }
            }
            Selection::All => {
                for port in &self.options.inbound_exclude {
                    self.add(table, INBOUND, [Match::Tcp, Match::Port(*port)], RETURN);
                }
                self.add(table, INBOUND, [Match::Tcp], capture);
            }
        }
    }

    fn tproxy_chains(&mut self) {
        let options = self.options;
        let mark = options.tproxy_mark;
        self.add(Table::Mangle, DIVERT, [], &format!("MARK --set-mark {mark}"));
        self.add(Table::Mangle, DIVERT, [], "ACCEPT");
        let target = format!("TPROXY --tproxy-mark {mark}/0xffffffff --on-port {}", options.inbound_port);
        self.add(Table::Mangle, TPROXY, [Match::NotTo(self.family.localhost()), Match::Tcp], &target);
        // The proxy's own connections to the application, and the answers to them, are not captured again.
        self.add(Table::Mangle, INBOUND, [Match::Tcp, Match::Mark(mark)], RETURN);
        let lo = || Match::In("lo".to_owned());
        self.add(Table::Mangle, INBOUND, [Match::Tcp, Match::From(self.family.passthrough()), lo()], RETURN);
        self.add(Table::Mangle, INBOUND, [Match::Tcp, lo(), Match::NotMark(mark)], RETURN);
        // Packets of connections that were captured go on to the socket that has them.
        self.add(Table::Mangle, INBOUND, [Match::Tcp, Match::Established], DIVERT);
    }

    /// The mark of a captured connection must be on what the application answers, too.
    fn keep_marks(&mut self) {
        let mark = self.options.tproxy_mark;
        self.add(Table::Mangle, PREROUTING, [Match::Tcp, Match::Mark(mark)], "CONNMARK --save-mark");
        self.add(Table::Mangle, OUTPUT, [Match::Tcp, Match::ConnMark(mark)], "CONNMARK --restore-mark");
    }

    /// What a virtual machine inside the pod sends arrives from outside, but it is outbound.
    fn virtual_interfaces(&mut self) {
        for name in &self.options.virtual_interfaces {
            match &self.options.outbound {
                Selection::All => self.nat(PREROUTING, [Match::In(name.clone()), Match::Tcp], REDIRECT),
                Selection::Only(nets) => {
                    for net in self.family.only(nets) {
                        self.nat(
                            PREROUTING,
                            [Match::In(name.clone()), Match::To(*net), Match::Tcp],
                            REDIRECT,
                        );
                    }
                }
            }
        }
    }

    fn outbound(&mut self) {
        self.nat(OUTPUT, [Match::Tcp], ISTIO_OUTPUT);
        for port in &self.options.outbound_ports_exclude {
            self.nat(ISTIO_OUTPUT, [Match::Tcp, Match::Port(*port)], RETURN);
        }
        // The proxy passing inbound traffic to the application.
        self.nat(ISTIO_OUTPUT, [Match::Out("lo".into()), Match::From(self.family.passthrough())], RETURN);
        for bypass in &self.options.bypass {
            self.bypass(*bypass);
        }
        self.nat(ISTIO_OUTPUT, [Match::To(self.family.localhost())], RETURN);
        for net in self.family.only(&self.options.outbound_exclude) {
            self.nat(ISTIO_OUTPUT, [Match::To(*net)], RETURN);
        }
        for port in &self.options.outbound_ports {
            self.nat(ISTIO_OUTPUT, [Match::Tcp, Match::Port(*port)], REDIRECT);
        }
        match &self.options.outbound {
            Selection::All => self.nat(ISTIO_OUTPUT, [], REDIRECT),
            Selection::Only(nets) => {
                for net in self.family.only(nets) {
                    self.nat(ISTIO_OUTPUT, [Match::To(*net)], REDIRECT);
                }
                self.nat(ISTIO_OUTPUT, [], RETURN);
            }
        }
    }

    fn bypass(&mut self, bypass: Bypass) {
        let (own, foreign) = match bypass {
            Bypass::Uid(id) => (Match::Uid(id), Match::NotUid(id)),
            Bypass::Gid(id) => (Match::Gid(id), Match::NotGid(id)),
            Bypass::Mark(mark) => (Match::Mark(mark), Match::NotMark(mark)),
        };
        let lo = || Match::Out("lo".to_owned());
        // app → proxy → the same pod: it is inbound traffic like any other and must pass the inbound listener.
        let again = [
            lo(),
            Match::NotTo(self.family.localhost()),
            Match::Tcp,
            Match::NotPort(self.options.tunnel_port),
            own.clone(),
        ];
        self.nat(ISTIO_OUTPUT, again, IN_REDIRECT);
        // The application talking to itself is nobody else's business.
        self.nat(ISTIO_OUTPUT, [lo(), foreign], RETURN);
        self.nat(ISTIO_OUTPUT, [own], RETURN);
    }
}
