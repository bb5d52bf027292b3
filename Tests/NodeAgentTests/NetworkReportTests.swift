import AloftModel
import Foundation
import SimulatedHypervisor
import TestSupport
import Testing

@testable import NodeAgent

@Suite("What the control plane is told of a node's networks")
struct NetworkReportTests {
  @Test("news that come while the node reports are told right after, and not a round later")
  func newsMeanwhile() {
    let now = AgentTime(uptime: 1_000, wall: 1_000_000)
    var machine = AgentMachine(now: now, seed: 1)
    let answer = AgentEvent.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20)))
    func begins(_ event: AgentEvent) -> Bool { machine.handle(event, now: now).contains(.heartbeat(orphans: nil)) }
    #expect(begins(.wake))
    #expect(!begins(.network(.reportChanged)), "one at a time")
    #expect(begins(answer))
    #expect(!begins(answer), "once")
    #expect(machine.wakeAt > now.uptime)
    #expect(begins(.network(.reportChanged)))
    #expect(!begins(answer), "what was told is no news")
  }

  @Test("an agent that has just begun says nothing before it knows what there is to join")
  func nothingYet() async throws {
    let folder = FileManager.default.temporaryDirectory.path + "/aloft-none-\(UUID().uuidString.prefix(8))"
    let clock = VirtualClock()
    let networks = try await OpenVSwitch(
      settings: NetworkSettings(ovs: "unix:\(folder)/db.sock", bridgeMappings: ["external": "br-ex"]),
      hypervisor: SimulatedHypervisor(SimulatedHost(seed: 1)), clock: clock,
      identity: { () async throws(AgentFailure) in
        SouthboundIdentity(node: SwitchTests.node, certificate: "/none", key: "/none", authorities: nil)
      }, logger: quietLogger)
    clock.advance(to: 60_000)
    await networks.refreshReport()
    #expect(await networks.report() == nil)
    await networks.join(nil)
    let told = try #require(await networks.report())
    #expect(told.problem?.contains("Open vSwitch cannot be reached") == true, "\(told)")
    #expect(told.physicalNetworks == ["external"])
  }
}
