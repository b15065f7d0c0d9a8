//! The chains, as Istio documents them: users and support engineers read them by these names.

use super::options::{Bypass, Interception, Options, Owners, Resolvers, Selection};
use super::plan::Plan;
use super::rule::{Action, Chain, Family, Match, Rule, Table};

/// Marks what the proxy itself sends to its own pod by the pod's address, so that TPROXY treats it as inbound.
const OUTBOUND_MARK: u32 = 1338;
/// Connection tracking zone of the agent and the resolvers it asks.
const UPSTREAM_ZONE: u16 = 1;
/// Connection tracking zone of the application and the agent.
const CLIENT_ZONE: u16 = 2;
const DNS_PORT: u16 = 53;

/// The rules for these options.
pub fn plan(options: &Options) -> Plan {
    let mut layout = Layout { options, rules: Vec::new() };
    layout.virtual_interfaces();
    layout.exclude_interfaces();
    if options.drop_invalid {
        layout.add(Table::Mangle, Chain::Prerouting, [Match::Invalid], Action::Jump(Chain::IstioDrop));
        layout.add(Table::Mangle, Chain::IstioDrop, [], Action::Drop);
    }
    layout.redirect_chains();
    layout.inbound();
    layout.outbound();
    if options.mode == Interception::Tproxy {
        layout.keep_marks();
    }
    let Layout { rules, .. } = layout;
    Plan { rules, routing: routing(options) }
}

/// Packets that TPROXY marked belong to this machine, whatever their destination says. And IPv6 has no loopback network to
/// choose an address from, so it needs one more.
fn routing(options: &Options) -> Vec<(Family, String)> {
    let mut all = vec![(Family::V6, "addr replace ::6/128 dev lo".to_owned())];
    if options.mode == Interception::Tproxy && captures_inbound(options) {
        let Options { tproxy_mark: mark, tproxy_table: table, .. } = options;
        for family in Family::ALL {
            all.push((family, format!("rule add fwmark {mark} lookup {table}")));
            all.push((family, format!("route add local default dev lo table {table}")));
        }
    }
    all
}

fn captures_inbound(options: &Options) -> bool {
    options.inbound != Selection::Only(Vec::new())
}

struct Layout<'a> {
    options: &'a Options,
    rules: Vec<Rule>,
}

fn lo_in() -> Match {
    Match::In("lo".to_owned())
}

fn lo_out() -> Match {
    Match::Out("lo".to_owned())
}

impl Layout<'_> {
    fn add<const N: usize>(&mut self, table: Table, chain: Chain, matches: [Match; N], action: Action) {
        self.rules.push(Rule { table, chain, matches: matches.into(), action });
    }

    fn nat<const N: usize>(&mut self, chain: Chain, matches: [Match; N], action: Action) {
        self.add(Table::Nat, chain, matches, action);
    }

    /// What a virtual machine inside the pod sends arrives from outside, but it is outbound. Must stand before the jump to
    /// the inbound chain.
    fn virtual_interfaces(&mut self) {
        for name in &self.options.virtual_interfaces {
            match &self.options.outbound {
                Selection::All => {
                    self.nat(Chain::Prerouting, [Match::In(name.clone())], Action::Jump(Chain::Redirect));
                }
                Selection::Only(nets) => {
                    for net in nets {
                        let matches = [Match::In(name.clone()), Match::To(*net)];
                        self.nat(Chain::Prerouting, matches, Action::Jump(Chain::Redirect));
                    }
                }
            }
        }
        for name in &self.options.virtual_interfaces {
            self.nat(Chain::Prerouting, [Match::In(name.clone())], Action::Return);
        }
    }

    /// Must stand before everything that captures, so that nothing on these interfaces is touched.
    fn exclude_interfaces(&mut self) {
        for name in &self.options.exclude_interfaces {
            let tables: &[Table] = match self.options.mode {
                Interception::Redirect => &[Table::Nat],
                Interception::Tproxy => &[Table::Nat, Table::Mangle],
            };
            for table in tables {
                self.add(*table, Chain::Prerouting, [Match::In(name.clone())], Action::Return);
                self.add(*table, Chain::Output, [Match::Out(name.clone())], Action::Return);
            }
        }
    }

    fn redirect_chains(&mut self) {
        let options = self.options;
        // The tunnel brings traffic that was for the proxy from the start.
        self.nat(Chain::Inbound, [Match::Tcp, Match::Port(options.tunnel_port)], Action::Return);
        self.nat(Chain::Redirect, [Match::Tcp], Action::Redirect(options.outbound_port));
        self.nat(Chain::InRedirect, [Match::Tcp], Action::Redirect(options.inbound_port));
    }

    fn inbound(&mut self) {
        if !captures_inbound(self.options) {
            return;
        }
        let transparent = self.options.mode == Interception::Tproxy;
        let table = if transparent { Table::Mangle } else { Table::Nat };
        if transparent {
            self.tproxy_chains();
        }
        self.add(table, Chain::Prerouting, [Match::Tcp], Action::Jump(Chain::Inbound));
        match &self.options.inbound {
            Selection::Only(ports) => {
                for port in ports {
                    self.take_in(table, &[Match::Tcp, Match::Port(*port)]);
                }
            }
            Selection::All => {
                for port in &self.options.inbound_exclude {
                    self.add(table, Chain::Inbound, [Match::Tcp, Match::Port(*port)], Action::Return);
                }
                self.take_in(table, &[Match::Tcp]);
            }
        }
    }

    /// To the proxy.
    fn take_in(&mut self, table: Table, matches: &[Match]) {
        let mut add = |matches: Vec<Match>, chain| {
            self.rules.push(Rule { table, chain: Chain::Inbound, matches, action: Action::Jump(chain) });
        };
        match self.options.mode {
            Interception::Redirect => add(matches.to_vec(), Chain::InRedirect),
            Interception::Tproxy => {
                // Packets of a connection that was captured go on to the socket that has it.
                add([matches, &[Match::Established]].concat(), Chain::Divert);
                add(matches.to_vec(), Chain::Tproxy);
            }
        }
    }

    fn tproxy_chains(&mut self) {
        let Options { tproxy_mark: mark, inbound_port: port, .. } = *self.options;
        self.add(Table::Mangle, Chain::Divert, [], Action::SetMark(mark));
        self.add(Table::Mangle, Chain::Divert, [], Action::Accept);
        for net in self.options.loopbacks() {
            let matches = [Match::NotTo(net), Match::Tcp];
            self.add(Table::Mangle, Chain::Tproxy, matches, Action::Tproxy { port, mark });
        }
        // The proxy's connections to the application, in the name of their client, are not captured again,
        self.add(Table::Mangle, Chain::Inbound, [Match::Tcp, Match::Mark(mark)], Action::Return);
        // nor those in its own name,
        for family in Family::ALL {
            let matches = [Match::Tcp, Match::From(family.passthrough()), lo_in()];
            self.add(Table::Mangle, Chain::Inbound, matches, Action::Return);
        }
        // nor the application's to itself. What the proxy sends to its own pod is inbound.
        let itself = [Match::Tcp, lo_in(), Match::NotMark(OUTBOUND_MARK)];
        self.add(Table::Mangle, Chain::Inbound, itself, Action::Return);
    }

    /// The mark of the proxy's connections in their client's name must be on what the application answers, too: only then
    /// the answers come back to this machine.
    fn keep_marks(&mut self) {
        let mark = self.options.tproxy_mark;
        let mangle =
            |chain, matches: Vec<Match>, action| Rule { table: Table::Mangle, chain, matches, action };
        let (before, out) = (Chain::Prerouting, Chain::Output);
        self.rules.push(mangle(before, vec![Match::Tcp, Match::Mark(mark)], Action::SaveMark));
        self.rules.push(mangle(out, vec![Match::Tcp, lo_out(), Match::Mark(mark)], Action::Return));
        for bypass in &self.options.bypass {
            for net in self.options.loopbacks() {
                let matches = vec![Match::NotTo(net), Match::Tcp, lo_out(), bypass.own()];
                self.rules.push(mangle(out, matches, Action::SetMark(OUTBOUND_MARK)));
            }
        }
        self.rules.push(mangle(out, vec![Match::Tcp, Match::ConnMark(mark)], Action::RestoreMark));
    }

    fn outbound(&mut self) {
        // DNS is captured here, too, so all protocols go there.
        self.nat(Chain::Output, [], Action::Jump(Chain::IstioOutput));
        for port in &self.options.outbound_ports_exclude {
            self.nat(Chain::IstioOutput, [Match::Tcp, Match::Port(*port)], Action::Return);
            self.nat(Chain::IstioOutput, [Match::Udp, Match::Port(*port)], Action::Return);
        }
        // The proxy passing inbound traffic to the application.
        for family in Family::ALL {
            let matches = [lo_out(), Match::From(family.passthrough())];
            self.nat(Chain::IstioOutput, matches, Action::Return);
        }
        for bypass in &self.options.bypass {
            self.bypass(*bypass);
        }
        self.owners();
        self.dns();
        for net in self.options.loopbacks() {
            self.nat(Chain::IstioOutput, [Match::To(net)], Action::Return);
        }
        for net in &self.options.outbound_exclude {
            self.nat(Chain::IstioOutput, [Match::To(*net)], Action::Return);
        }
        for port in &self.options.outbound_ports {
            let matches = [Match::Tcp, Match::Port(*port)];
            self.nat(Chain::IstioOutput, matches, Action::Jump(Chain::Redirect));
        }
        match &self.options.outbound {
            Selection::All => self.nat(Chain::IstioOutput, [], Action::Jump(Chain::Redirect)),
            Selection::Only(nets) => {
                for net in nets {
                    self.nat(Chain::IstioOutput, [Match::To(*net)], Action::Jump(Chain::Redirect));
                }
            }
        }
    }

    fn bypass(&mut self, bypass: Bypass) {
        let dns = self.options.dns != Resolvers::None;
        // app → proxy → the same pod: it is inbound traffic like any other and must pass the inbound listener. The agent
        // asking a resolver is not.
        let tunnel = self.options.tunnel_port;
        let others = match bypass {
            Bypass::Gid(_) => Match::NotPort(tunnel),
            _ if dns => Match::NotPorts(vec![DNS_PORT, tunnel]),
            _ => Match::NotPort(tunnel),
        };
        for net in self.options.loopbacks() {
            let again = [lo_out(), Match::NotTo(net), Match::Tcp, others.clone(), bypass.own()];
            self.nat(Chain::IstioOutput, again, Action::Jump(Chain::InRedirect));
        }
        // The application talking to itself is nobody else's business, unless the loopback was asked for by name; a
        // resolver on the loopback is.
        if !self.options.includes_loopback() {
            if dns {
                let matches = [lo_out(), Match::Tcp, Match::NotPort(DNS_PORT), bypass.foreign()];
                self.nat(Chain::IstioOutput, matches, Action::Return);
            } else {
                self.nat(Chain::IstioOutput, [lo_out(), bypass.foreign()], Action::Return);
            }
        }
        self.nat(Chain::IstioOutput, [bypass.own()], Action::Return);
    }

    fn owners(&mut self) {
        let rule =
            |matches| Rule { table: Table::Nat, chain: Chain::IstioOutput, matches, action: Action::Return };
        match &self.options.owners {
            Owners::AllBut(groups) => {
                self.rules.extend(groups.iter().map(|id| rule(vec![Match::Gid(*id)])));
            }
            // One rule: who is in none of them.
            Owners::Only(groups) => {
                self.rules.push(rule(groups.iter().map(|id| Match::NotGid(*id)).collect()))
            }
        }
    }

    /// Look-ups go to the agent; what it asks itself was let through above. Connection tracking keeps the two sides of
    /// the agent apart, for a UDP answer and a new question can meet on the same pair of ports.
    fn dns(&mut self) {
        let servers: Vec<Option<_>> = match &self.options.dns {
            Resolvers::None => return,
            Resolvers::All => vec![None],
            Resolvers::Only(servers) => servers.iter().copied().map(Some).collect(),
        };
        let to = |server: &Option<_>| server.map(Match::To);
        self.add(Table::Raw, Chain::Output, [], Action::Jump(Chain::OutputDns));
        self.nat(Chain::IstioOutput, [], Action::Jump(Chain::OutputDns));
        let mut add = |table, chain, matches: Vec<Match>, action| {
            self.rules.push(Rule { table, chain, matches, action });
        };
        let dns = |protocol| vec![protocol, Match::Port(DNS_PORT)];
        for protocol in [Match::Tcp, Match::Udp] {
            for server in &servers {
                let matches = dns(protocol.clone()).into_iter().chain(to(server)).collect();
                add(Table::Nat, Chain::OutputDns, matches, Action::Redirect(meltemi_proto::ports::DNS));
            }
        }
        for bypass in &self.options.bypass {
            let asks = [dns(Match::Udp), vec![bypass.own()]].concat();
            add(Table::Raw, Chain::OutputDns, asks, Action::Zone(UPSTREAM_ZONE));
            let answers = vec![Match::Udp, Match::SourcePort(meltemi_proto::ports::DNS), bypass.own()];
            add(Table::Raw, Chain::OutputDns, answers, Action::Zone(CLIENT_ZONE));
        }
        add(Table::Raw, Chain::Prerouting, Vec::new(), Action::Jump(Chain::Inbound));
        for server in &servers {
            let asks = dns(Match::Udp).into_iter().chain(to(server)).collect();
            add(Table::Raw, Chain::OutputDns, asks, Action::Zone(CLIENT_ZONE));
            let from = server.map(Match::From);
            let answers = [Match::Udp, Match::SourcePort(DNS_PORT)].into_iter().chain(from).collect();
            add(Table::Raw, Chain::Inbound, answers, Action::Zone(UPSTREAM_ZONE));
        }
    }
}
