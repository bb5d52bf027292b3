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

  /// Somebody sets the host's wall clock; uptime goes on as before.
  public func shiftWall(by milliseconds: Int) { time.withLock { $0.wall += milliseconds } }

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
  /// Holds polls that bring nothing, as the control plane does: the link is asked without waiting, and again after
  /// ``lookAgain`` or ``wakePoll()``, until the poll's time is over.
  public var holdsPolls = false
  /// How often a held poll looks by itself, in milliseconds; the control plane's own pause.
  public static let lookAgain = 5_000

  private let host: SimulatedHost
  private let clock: VirtualClock
  private let report: NodeReport
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
      /// A poll that is held until that uptime.
      case held(number: Int, after: Int, until: Int)
      case event(AgentEvent)
    }

    var at: Int
    /// Breaks ties, so that a run can be repeated.
    var number: Int
    var item: Item
  }

  /// - Parameters:
  ///   - report: what the agent says of its host.
  ///   - link: makes the way to the control plane for each new process.
  public init(
    host: SimulatedHost, clock: VirtualClock, seed: UInt64, report: NodeReport = Self.roomy,
    link: @escaping @Sendable () -> any ControlPlaneLink
  ) {
    self.report = report
    self.host = host
    self.clock = clock
    makeLink = link
    random = SplitMix(seed: seed)
    epoch = host.epoch
    machine = AgentMachine(now: clock.now(), seed: seed)
    performer = Self.performer(host, clock, report, link())
    put(.event(.wake), after: 0)
  }

  /// A host on which nothing is short.
  public static let roomy = NodeReport(
    architecture: "x86_64", accelerator: .kvm, vcpus: 64, memoryMib: 1 << 18, diskGib: 1 << 12, facts: [:])

  private static func performer(
    _ host: SimulatedHost, _ clock: VirtualClock, _ report: NodeReport, _ link: any ControlPlaneLink
  ) -> EffectPerformer {
    EffectPerformer(
      hypervisor: SimulatedHypervisor(host), storage: SimulatedStorage(host), journal: SimulatedJournal(host),
      link: link, clock: clock, networks: SimulatedNetworks(host),
      platform: { () async throws(AgentFailure) in
        DomainPlatform(architecture: "x86_64", accelerator: .kvm, directIO: true)
      },
      nodeReport: { () async throws(AgentFailure) in report },
      renewIdentity: { () async throws(AgentFailure) in throw AgentFailure(.unsupported, "simulated") },
      logger: Logger(label: "simulated", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  /// When this agent or its host has something to do; milliseconds of uptime.
  public var nextAt: Int {
    // A new process is waiting to begin.
    if host.epoch != epoch { return clock.now().uptime }
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
    case .effect(.poll(let number, let after, let seconds)) where holdsPolls && seconds > 0:
      await poll(number: number, after: after, until: now.uptime + seconds * 1000)
    case .held(let number, let after, let until): await poll(number: number, after: after, until: until)
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

  /// Looks for documents; holds the poll when there are none.
  private mutating func poll(number: Int, after: Int, until: Int) async {
    let event = await performer.perform(.poll(number: number, after: after, waitSeconds: 0)) { _ in }
    guard host.epoch == epoch, let event else { return }
    let uptime = clock.now().uptime
    if case .polled(_, .success(let answer)) = event, answer.documents.isEmpty, answer.streams.isEmpty,
      answer.revision >= after, uptime < until
    {
      put(.held(number: number, after: after, until: until), after: min(Self.lookAgain, until - uptime))
    } else {
      put(.event(event), after: Int(random.next() % UInt64(latency + 1)))
    }
  }

  /// The control plane wakes a held poll.
  public mutating func wakePoll() {
    for index in pending.indices {
      if case .held = pending[index].item { pending[index].at = min(pending[index].at, clock.now().uptime + 1) }
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
    // What libvirt told the old process nobody hears any more.
    _ = host.takeEvents()
    pending = []
    machine = AgentMachine(now: clock.now(), seed: random.next())
    performer = Self.performer(host, clock, report, makeLink())
    put(.event(.wake), after: 1)
  }
}
