import AloftModel
import Execution
import NodeAgent

// A host without a hypervisor, for simulations and tests.
//
// Invariants
// - What a host keeps (domains, files, journal) outlives its agent: an agent that crashes is thrown away, the host stays.
// - An agent that crashed has no more effect, whatever it had under way: its epoch is over.
// - Nothing happens by itself: time passes when ``advance(to:)`` is called, chance comes from the seed alone.

/// One simulated host.
public final class SimulatedHost: Sendable {
  /// What goes wrong, each as a probability from 0 to 1.
  public struct Faults: Sendable {
    /// A call fails without effect.
    public var refusal = 0.0
    /// The agent dies before an effect, or after it and before it learns of it.
    public var agentCrash = 0.0
    /// An event of the hypervisor is never told.
    public var lostEvent = 0.0
    /// No call is answered at all: libvirtd is down.
    public var isUnavailable = false
    /// The data directory is full.
    public var diskIsFull = false
    /// OVN installs no ports.
    public var portsAreMissing = false
    /// The agent says that its node can connect no VMs.
    public var networksAreBroken = false

    public init() {}
  }

  /// How a guest behaves.
  public struct Guest: Sendable {
    public var ignoresACPI = false
    /// Milliseconds from being asked until it is off.
    public var shutdownTime = 2_000
    /// It does not give back what it was asked for.
    public var keepsNICs = false
    public var keepsDisks = false
    /// Its agent brings its file systems to rest.
    public var hasAgent = true

    public init() {}
  }

  /// A domain and what happened to it.
  public struct Domain: Sendable {
    public var tag: DomainTag
    public var power: DomainPower
    /// How often it was started, rebooted and reset.
    public var starts = 0
    public var reboots = 0
    public var resets = 0
    public var offAt: Int?
    /// What the definition has, and what is plugged in.
    public var definedNICs: [DomainNIC] = []
    public var nics: [DomainNIC] = []
    /// The same of volumes.
    public var definedDisks: [DomainDisk] = []
    public var disks: [DomainDisk] = []
    /// It was started while ports were missing, and ran without them.
    public var ranWithoutPorts = false
  }

  /// A volume and its layers, which are numbers.
  public struct Volume: Sendable {
    public struct Snapshot: Sendable {
      public var stored: StoredVolume.Snapshot
      public var layer: Int
    }

    public var sizeBytes: Int
    public var epoch = 0
    public var leaf: Int
    public var snapshots: [Snapshot] = []
    /// What each layer lies over.
    var parents: [Int: Int] = [:]
    /// What it was made from, for tests.
    public var source: VolumeAssignment.Source?
    /// A part of it is lost.
    public var isDamaged = false
  }

  /// What was done to a VM on this host, also when its domain is gone.
  public struct Record: Sendable {
    public var starts = 0
    /// How often the agent ended a guest that ran, by the power button or by the plug.
    public var stops = 0
    public var reboots = 0
  }

  struct State: Sendable {
    var records: [VMID: Record] = [:]
    var counts: [String: Int] = [:]
    var domains: [VMID: Domain] = [:]
    var files: [VMID: VMFiles] = [:]
    var images: Set<String> = []
    var volumes: [VolumeID: Volume] = [:]
    var layers = 0
    var violations: [String] = []
    var journal = JournalState()
    var guests: [VMID: Guest] = [:]
    var faults = Faults()
    var random: SplitMix
    var epoch = 0
    var uptime = 0
    var events: [HypervisorEvent] = []
    var listeners: [AsyncStream<HypervisorEvent>.Continuation] = []
    var downloads = 0
  }

  let state: Lock<State>

  public init(seed: UInt64) { state = Lock(State(random: SplitMix(seed: seed))) }

  // MARK: What a test may do

  public var faults: Faults {
    get { state.withLock { $0.faults } }
    set { state.withLock { $0.faults = newValue } }
  }

  public func domain(_ vm: VMID) -> Domain? { state.withLock { $0.domains[vm] } }
  public func record(_ vm: VMID) -> Record { state.withLock { $0.records[vm] ?? Record() } }
  /// How often each thing went wrong.
  public var counts: [String: Int] { state.withLock { $0.counts } }
  /// Every VM of which anything is on this host: a domain, files, or a line of the journal.
  public var traces: [VMID] {
    state.withLock { state in
      let vms = Set(state.domains.keys).union(state.files.keys).union(state.journal.known)
      return vms.sorted { $0.description < $1.description }
    }
  }
  public func volume(_ volume: VolumeID) -> Volume? { state.withLock { $0.volumes[volume] } }
  /// All volumes of which there is anything on this host.
  public var volumes: [VolumeID] {
    state.withLock { $0.volumes.keys.sorted { $0.description < $1.description } }
  }
  /// What must never happen and did: a guest wrote into a snapshot, something that was open was deleted.
  public var violations: [String] { state.withLock { $0.violations } }
  /// A part of a volume is lost.
  public func damage(_ volume: VolumeID) { state.withLock { $0.volumes[volume]?.isDamaged = true } }
  /// A volume is lost as a whole.
  public func lose(_ volume: VolumeID) { state.withLock { $0.volumes[volume] = nil } }
  public func files(_ vm: VMID) -> VMFiles { state.withLock { $0.files[vm] ?? VMFiles() } }
  public func journal(_ vm: VMID) -> VMJournal { state.withLock { $0.journal.view(of: vm) } }
  public var vms: [VMID] { state.withLock { Array($0.domains.keys) } }
  /// How many image downloads reached the cache.
  public var downloads: Int { state.withLock { $0.downloads } }

  /// The life of the agent that may have effects now; it changes when the agent crashes.
  public var epoch: Int { state.withLock { $0.epoch } }

  /// The agent dies now.
  public func crashAgent() { state.withLock { $0.epoch += 1 } }

  public func setGuest(_ guest: Guest, of vm: VMID) { state.withLock { $0.guests[vm] = guest } }

  /// The image cache is lost.
  public func forgetImages() { state.withLock { $0.images = [] } }

  /// The guest powers itself off.
  public func guestPowersOff(_ vm: VMID) { change(vm) { $0.power = .off(.guestShutdown) } }

  /// QEMU dies.
  public func guestCrashes(_ vm: VMID) { change(vm) { $0.power = .off(.failed) } }

  /// Somebody pulls the plug behind Aloft's back.
  public func destroyDomain(_ vm: VMID) { change(vm) { $0.power = .off(.destroyed) } }

  /// The guest is paused, as after an I/O error.
  public func guestPauses(_ vm: VMID, _ cause: DomainPower.PauseCause) { change(vm) { $0.power = .paused(cause) } }

  /// Somebody removes the domain behind Aloft's back.
  public func removeDomain(_ vm: VMID) {
    state.withLock { state in
      state.domains[vm] = nil
      state.tell(.changed(vm))
    }
  }

  /// libvirtd restarts: guests run on, and why domains are off is forgotten.
  public func hypervisorRestarts() {
    state.withLock { state in
      for (vm, domain) in state.domains where !domain.power.isActive { state.domains[vm]?.power = .off(.unknown) }
      state.tell(.resynchronize)
    }
  }

  /// The host loses power and comes back: agent and guests are gone, files and definitions stay.
  public func losesPower() {
    state.withLock { state in
      state.epoch += 1
      for vm in state.domains.keys {
        state.domains[vm]?.power = .off(.unknown)
        state.domains[vm]?.offAt = nil
      }
    }
  }

  private func change(_ vm: VMID, _ body: (inout Domain) -> Void) {
    state.withLock { state in
      guard var domain = state.domains[vm], domain.power.isActive else { return }
      body(&domain)
      domain.offAt = nil
      state.domains[vm] = domain
      state.tell(.changed(vm))
    }
  }

  // MARK: Time

  /// Guests do what is due until `uptime`.
  public func advance(to uptime: Int) {
    state.withLock { state in
      state.uptime = max(state.uptime, uptime)
      for vm in state.domains.keys.sorted(by: { $0.description < $1.description }) {
        guard let domain = state.domains[vm], let offAt = domain.offAt, offAt <= uptime else { continue }
        state.domains[vm]?.offAt = nil
        if domain.power.isActive {
          state.domains[vm]?.power = .off(.guestShutdown)
          state.records[vm, default: Record()].stops += 1
          state.tell(.changed(vm))
        }
      }
    }
  }

  /// When the next guest does something.
  public var nextAt: Int? { state.withLock { state in state.domains.values.compactMap(\.offAt).min() } }

  /// What the hypervisor told since the last call.
  public func takeEvents() -> [HypervisorEvent] {
    state.withLock { state in
      defer { state.events = [] }
      return state.events
    }
  }
}

extension SimulatedHost.State {
  mutating func tell(_ event: HypervisorEvent) {
    if happens(faults.lostEvent, "event lost") { return }
    if listeners.isEmpty { events.append(event) }
    for listener in listeners { listener.yield(event) }
  }

  mutating func happens(_ probability: Double, _ fault: String) -> Bool {
    guard probability > 0, Double(random.next() >> 11) / Double(1 << 53) < probability else { return false }
    counts[fault, default: 0] += 1
    return true
  }

  mutating func count(_ fault: String) { counts[fault, default: 0] += 1 }

  /// Lets a call through or fails it; `mutates` marks those at which the agent may die.
  mutating func admit(_ epoch: Int, mutates: Bool) throws(AgentFailure) {
    guard epoch == self.epoch else { throw .crashed }
    if mutates, happens(faults.agentCrash, "agent died before an effect") {
      self.epoch += 1
      throw .crashed
    }
    if faults.isUnavailable {
      count("libvirt did not answer")
      throw AgentFailure(.hypervisorUnavailable, "simulated: libvirt is down")
    }
    if happens(faults.refusal, "libvirt refused") { throw AgentFailure(.hypervisorRefused, "simulated: refused") }
  }

  /// The agent may die before an effect.
  mutating func maybeCrashBefore() throws(AgentFailure) { try maybeCrash("agent died before an effect") }

  /// The agent may die after the effect, before it learns of it.
  mutating func maybeCrashAfter() throws(AgentFailure) { try maybeCrash("agent died after an effect") }

  private mutating func maybeCrash(_ when: String) throws(AgentFailure) {
    guard happens(faults.agentCrash, when) else { return }
    epoch += 1
    throw .crashed
  }
}

extension AgentFailure {
  static var crashed: AgentFailure { AgentFailure(.hypervisorUnavailable, "simulated: this agent is dead") }
}
