import AloftModel
import Execution
import Logging
import NodeAgent

/// A clock that a simulation moves.
public final class VirtualClock: AgentClock {
  private let time: Lock<AgentTime>

  public init(_ start: AgentTime = AgentTime(uptime: 0, wall: 1_800_000_000_000)) { time = Lock(start) }

  public func now() -> AgentTime { time.withLock { $0 } }

  /// Moves both clocks forward to `uptime`; never back.
  public func advance(to uptime: Int) {
    time.withLock { time in
      let step = max(0, uptime - time.uptime)
      time.uptime += step
      time.wall += step
    }
  }

  /// Somebody sets the host's clock; negative milliseconds set it back.
  public func setWall(by milliseconds: Int) { time.withLock { $0.wall += milliseconds } }

  /// Waiting is the simulation's business.
  public func sleep(until uptime: Int) async throws { throw CancellationError() }
}

/// One agent process on a ``SimulatedHost``, driven step by step: the real ``AgentMachine`` and ``EffectPerformer``, with
/// latencies from a seed. The owner asks ``nextAt``, moves the clock there and calls ``step()``.
///
/// When an effect kills the agent, the next step starts a new process: the machine is made anew from nothing but the host.
public struct SimulatedAgent {
  /// The longest an effect takes, in milliseconds.
  public var latency = 50

  private let host: SimulatedHost
  private let clock: VirtualClock
  private let makeLink: @Sendable () -> any ControlPlaneLink
  private var machine: AgentMachine
  private var performer: EffectPerformer
  private var random: SplitMix
  private var epoch: Int
  private var inbox: Lock<[AgentEvent]> = Lock([])
  private var pending: [Pending] = []
  private var number = 0

  private struct Pending {
    enum Item {
      case effect(AgentEffect)
      case event(AgentEvent)
    }

    var at: Int
    /// Breaks ties, so that a run can be repeated.
    var number: Int
    var item: Item
  }

  /// - Parameter link: makes the way to the control plane for each new process.
  public init(
    host: SimulatedHost, clock: VirtualClock, seed: UInt64, link: @escaping @Sendable () -> any ControlPlaneLink
  ) {
    self.host = host
    self.clock = clock
    makeLink = link
    random = SplitMix(seed: seed)
    epoch = host.epoch
    machine = AgentMachine(now: clock.now(), seed: seed)
    performer = Self.performer(host, clock, link())
    put(.event(.wake), after: 0)
  }

  private static func performer(
    _ host: SimulatedHost, _ clock: VirtualClock, _ link: any ControlPlaneLink
  ) -> EffectPerformer {
    EffectPerformer(
      hypervisor: SimulatedHypervisor(host), storage: SimulatedStorage(host), journal: SimulatedJournal(host),
      link: link, clock: clock,
      platform: { () async throws(AgentFailure) in
        DomainPlatform(architecture: "x86_64", accelerator: .kvm, directIO: true)
      },
      nodeReport: { () async throws(AgentFailure) in
        NodeReport(
          architecture: "x86_64", accelerator: .kvm, vcpus: 64, memoryMib: 1 << 18, diskGib: 1 << 12, facts: [:])
      },
      renewIdentity: { () async throws(AgentFailure) in throw AgentFailure(.unsupported, "simulated") },
      logger: Logger(label: "simulated", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  /// When this agent or its host has something to do; milliseconds of uptime.
  public var nextAt: Int {
    let due = pending.map(\.at).min() ?? .max
    return max(clock.now().uptime, min(due, machine.wakeAt, host.nextAt ?? .max))
  }

  /// Does one thing that is due.
  public mutating func step() async {
    let now = clock.now()
    host.advance(to: now.uptime)
    if host.epoch != epoch { restart() }
    for event in host.takeEvents() { put(.event(.hypervisor(event)), after: Int(random.next() % 20)) }
    guard let index = earliest(now.uptime) else {
      if machine.wakeAt <= now.uptime { handle(.wake) }
      return
    }
    switch pending.remove(at: index).item {
    case .event(let event): handle(event)
    case .effect(let effect):
      let inbox = inbox
      let result = await performer.perform(effect) { event in inbox.withLock { $0.append(event) } }
      for event in inbox.withLock({ events in
        defer { events = [] }; return events
      }) { handle(event) }
      // A dead agent learns nothing.
      if host.epoch == epoch, let result { put(.event(result), after: Int(random.next() % UInt64(latency + 1))) }
    }
  }

  private func earliest(_ uptime: Int) -> Int? {
    pending.indices.filter { pending[$0].at <= uptime }
      .min { (pending[$0].at, pending[$0].number) < (pending[$1].at, pending[$1].number) }
  }

  private mutating func put(_ item: Pending.Item, after delay: Int) {
    number += 1
    pending.append(Pending(at: clock.now().uptime + delay, number: number, item: item))
  }

  private mutating func handle(_ event: AgentEvent) {
    for effect in machine.handle(event, now: clock.now()) {
      put(.effect(effect), after: Int(random.next() % UInt64(latency + 1)))
    }
  }

  /// A new process takes over.
  private mutating func restart() {
    epoch = host.epoch
    pending = []
    machine = AgentMachine(now: clock.now(), seed: random.next())
    performer = Self.performer(host, clock, makeLink())
    put(.event(.wake), after: 1)
  }
}
