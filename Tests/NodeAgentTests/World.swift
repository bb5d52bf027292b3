import AloftModel
import NodeAgent
import SimulatedHypervisor

/// One host, one agent and a control plane in memory, in virtual time.
final class World {
  let host: SimulatedHost
  let clock = VirtualClock()
  let plane = MemoryControlPlane()
  var agent: SimulatedAgent
  let link: LossyLink<MemoryControlPlane>

  init(seed: UInt64, faults: LossyLink<MemoryControlPlane>.Faults = .init()) {
    host = SimulatedHost(seed: seed)
    let link = LossyLink(plane, faults: faults, seed: seed &+ 1)
    self.link = link
    agent = SimulatedAgent(host: host, clock: clock, seed: seed &+ 2) { link }
  }

  /// Runs until nothing but `condition` is awaited; false when it does not come true within the virtual time.
  func run(seconds: Int, until condition: () -> Bool = { false }) async -> Bool {
    let end = clock.now().uptime + seconds * 1000
    while true {
      if condition() { return true }
      let next = agent.nextAt
      if next > end {
        clock.advance(to: end)
        return condition()
      }
      clock.advance(to: next)
      await agent.step()
    }
  }

  func power(_ vm: VMID) -> DomainPower? { host.domain(vm)?.power }
}
