import AloftModel
import NodeAgent

// What users do and what goes wrong, made of a seed alone: no world is looked at, so that a change of the product does
// not change the history that it is tested with. VMs are named by their number in the order of their creation.

/// What a user asks for.
enum UserAction: Sendable, Equatable {
  case create(Creation)
  case start(Int)
  case stop(Int, graceSeconds: Int)
  case reboot(Int, force: Bool)
  case delete(Int, ifMatch: Bool)
  case rename(Int)
  /// With an `If-Match` that is right, or one that is old.
  case relabel(Int, stale: Bool)
  case read(Int)
  case list
  case explain
  case attach(Int, network: String)
  /// One of the NICs that it has then.
  case detach(Int, which: Int)

  struct Creation: Sendable, Equatable {
    var vm: Int
    var vcpus: Int
    var memoryMiB: Int
    var diskGiB: Int
    var image: String
    var power: Power
    var guestIgnoresACPI: Bool
    /// A NIC on each.
    var networks: [String] = []
  }

  /// For the counts.
  var verb: String {
    switch self {
    case .create: "create"
    case .start: "start"
    case .stop(_, let grace): grace == 0 ? "stop forced" : "stop"
    case .reboot(_, let force): force ? "reset" : "reboot"
    case .delete: "delete"
    case .rename: "rename"
    case .relabel(_, let stale): stale ? "relabel with an old If-Match" : "relabel"
    case .read: "read"
    case .list: "list"
    case .explain: "explain"
    case .attach: "attach NIC"
    case .detach: "detach NIC"
    }
  }
}

/// A bad thing that happens at a moment. Durations are milliseconds.
enum Mishap: Sendable, Equatable {
  case agentKilled(node: Int, down: Int)
  case replicaKilled(replica: Int, down: Int)
  /// PostgreSQL crashed: what is unlogged is gone.
  case databaseForgets
  case nodeUnreachable(node: Int, for: Int)
  case libvirtDown(node: Int, for: Int)
  case hostReboots(node: Int, down: Int)
  case clockSet(node: Int, by: Int)
  case diskFull(node: Int, for: Int)
  case downloadsFail(node: Int, for: Int)
  case qemuKilled(vm: Int)
  case guestPowersOff(vm: Int)
  case guestPaused(vm: Int)
  case domainDestroyed(vm: Int)
  case domainUndefined(vm: Int)
  case ovnDown(node: Int, for: Int)

  /// For the counts.
  var kind: String {
    switch self {
    case .agentKilled: "agent killed"
    case .replicaKilled: "replica killed"
    case .databaseForgets: "database crashed"
    case .nodeUnreachable(_, let time):
      switch time {
      case ...20_000: "node unreachable"
      case ...60_000: "node unreachable beyond its lease"
      default: "node unreachable for many minutes"
      }
    case .libvirtDown: "libvirt down"
    case .hostReboots: "host rebooted"
    case .clockSet(_, let time): time < 0 ? "host's clock set back" : "host's clock set forward"
    case .diskFull: "disk full for a while"
    case .downloadsFail: "downloads fail for a while"
    case .qemuKilled: "QEMU killed"
    case .guestPowersOff: "guest powered itself off"
    case .guestPaused: "guest paused by an I/O error"
    case .domainDestroyed: "domain destroyed from outside"
    case .domainUndefined: "domain undefined from outside"
    case .ovnDown: "OVN down on a node"
    }
  }
}

/// How likely the small things are, each from 0 to 1.
struct Weather: Sendable, Equatable {
  var lostRequest = 0.0
  var lostAnswer = 0.0
  var doubled = 0.0
  var late = 0.0
  var delayed = 0.0
  /// A step of a replica in which a commit comes to grief.
  var commitTrouble = 0.0
  /// A step of a replica that waits before a transaction while others go on.
  var holdUp = 0.0
  var agentCrash = 0.0
  var refusal = 0.0
  var lostEvent = 0.0
  var lostClientAnswer = 0.0
  var lostWakeup = 0.0
}

/// One history.
struct History: Sendable, Equatable {
  enum Action: Sendable, Equatable {
    case user(UserAction)
    case mishap(Mishap)
  }

  struct Moment: Sendable, Equatable {
    /// Milliseconds behind the moment before.
    var after: Int
    var action: Action
  }

  struct Node: Sendable, Equatable {
    var vcpus: Int
    var memoryMiB: Int
    var diskGiB: Int
    /// How far the host's wall clock is off, in milliseconds.
    var clockOffset: Int
  }

  var seed: UInt64
  var nodes: [Node] = []
  var weather = Weather()
  var moments: [Moment] = []

  /// The networks of the project.
  static let networks = ["blue", "green"]

  /// Without networks nothing else is different.
  init(seed: UInt64, hasNetworks: Bool = true) {
    self.seed = seed
    // Of its own, so that what networks add changes nothing of the rest.
    var networking = SplitMix(seed: seed &* 0x9e37_79b9_7f4a_7c15 &+ 5)
    var random = SplitMix(seed: seed &* 0x2545_f491_4f6c_dd1d &+ 1)
    for _ in 0..<Int.random(in: 2...4, using: &random) {
      nodes.append(
        Node(
          vcpus: Int.random(in: 1...4, using: &random), memoryMiB: 512 * Int.random(in: 3...8, using: &random),
          diskGiB: Int.random(in: 8...24, using: &random),
          clockOffset: Int.random(in: -3_600_000...3_600_000, using: &random)))
    }
    weather = Self.weather(&random)
    var made = 0
    for number in 0..<Int.random(in: 30...55, using: &random) {
      let calm = Int.random(in: 0...3, using: &random) == 0
      let after = calm ? Int.random(in: 5_000...15_000, using: &random) : Int.random(in: 1...2_500, using: &random)
      let isMishap = number > 4 && Int.random(in: 0..<100, using: &random) < 32
      let action: Action =
        isMishap
        ? .mishap(Self.mishap(made, nodes.count, &random))
        : .user(Self.user(&made, &random))
      moments.append(Moment(after: after, action: hasNetworks ? Self.connected(action, &networking) : action))
      guard hasNetworks, made > 0, Int.random(in: 0..<6, using: &networking) == 0 else { continue }
      moments.append(
        Moment(
          after: Int.random(in: 1...1_500, using: &networking),
          action: Self.networking(made, nodes.count, &networking)))
    }
  }

  /// A VM that is created gets NICs, mostly.
  private static func connected(_ action: Action, _ random: inout SplitMix) -> Action {
    guard case .user(.create(var creation)) = action else { return action }
    creation.networks = Array(networks.prefix(Int.random(in: 0...2, using: &random)))
    return .user(.create(creation))
  }

  private static func networking(_ made: Int, _ nodes: Int, _ random: inout SplitMix) -> Action {
    let vm = Int.random(in: 0..<made, using: &random)
    switch Int.random(in: 0..<20, using: &random) {
    case 0..<9: return .user(.attach(vm, network: networks[Int.random(in: 0..<networks.count, using: &random)]))
    case 9..<16: return .user(.detach(vm, which: Int.random(in: 0..<8, using: &random)))
    default:
      let time = Int.random(in: 500...60_000, using: &random)
      return .mishap(.ovnDown(node: Int.random(in: 0..<nodes, using: &random), for: time))
    }
  }

  /// Days differ: some are quiet in most respects, some are bad in all.
  private static func weather(_ random: inout SplitMix) -> Weather {
    func chance(_ most: Double, _ random: inout SplitMix) -> Double {
      Bool.random(using: &random) ? 0 : Double.random(in: 0...most, using: &random)
    }
    return Weather(
      lostRequest: chance(0.25, &random), lostAnswer: chance(0.25, &random), doubled: chance(0.2, &random),
      late: chance(0.2, &random), delayed: chance(0.15, &random), commitTrouble: chance(0.06, &random),
      holdUp: chance(0.3, &random), agentCrash: chance(0.05, &random), refusal: chance(0.1, &random),
      lostEvent: chance(0.6, &random),
      lostClientAnswer: chance(0.3, &random), lostWakeup: chance(0.9, &random))
  }

  private static func user(_ made: inout Int, _ random: inout SplitMix) -> UserAction {
    if made < 2 || (made < 14 && Int.random(in: 0..<100, using: &random) < 22) {
      defer { made += 1 }
      return .create(
        UserAction.Creation(
          vm: made, vcpus: Int.random(in: 1...3, using: &random),
          memoryMiB: 128 << Int.random(in: 0...3, using: &random),
          diskGiB: Int.random(in: 1...4, using: &random), image: Bool.random(using: &random) ? "tiny" : "other",
          power: Int.random(in: 0...4, using: &random) == 0 ? .stopped : .running,
          guestIgnoresACPI: Int.random(in: 0...3, using: &random) == 0))
    }
    let vm = Int.random(in: 0..<made, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<22: return .start(vm)
    case 22..<38: return .stop(vm, graceSeconds: Int.random(in: 1...40, using: &random))
    case 38..<46: return .stop(vm, graceSeconds: 0)
    case 46..<58: return .reboot(vm, force: false)
    case 58..<64: return .reboot(vm, force: true)
    case 64..<76: return .delete(vm, ifMatch: Bool.random(using: &random))
    case 76..<82: return .rename(vm)
    case 82..<87: return .relabel(vm, stale: false)
    case 87..<90: return .relabel(vm, stale: true)
    case 90..<95: return .read(vm)
    case 95..<98: return .list
    default: return .explain
    }
  }

  private static func mishap(_ made: Int, _ nodes: Int, _ random: inout SplitMix) -> Mishap {
    let vm = Int.random(in: 0..<max(1, made), using: &random)
    let node = Int.random(in: 0..<nodes, using: &random)
    let time = Int.random(in: 500...45_000, using: &random)
    if Int.random(in: 0..<50, using: &random) == 0 {
      return .nodeUnreachable(node: node, for: Int.random(in: 200_000...900_000, using: &random))
    }
    switch Int.random(in: 0..<26, using: &random) {
    case 24, 25: return .clockSet(node: node, by: Int.random(in: -7_200_000...3_600_000, using: &random))
    case 0...2: return .agentKilled(node: node, down: time)
    case 3, 4: return .replicaKilled(replica: Int.random(in: 0...1, using: &random), down: time)
    case 5: return .databaseForgets
    case 6, 7: return .nodeUnreachable(node: node, for: time)
    case 8, 9: return .libvirtDown(node: node, for: time)
    case 10, 11: return .hostReboots(node: node, down: time)
    case 12: return .diskFull(node: node, for: time)
    case 13: return .downloadsFail(node: node, for: time)
    case 14...16: return .qemuKilled(vm: vm)
    case 17, 18: return .guestPowersOff(vm: vm)
    case 19: return .guestPaused(vm: vm)
    case 20, 21: return .domainDestroyed(vm: vm)
    default: return .domainUndefined(vm: vm)
    }
  }
}
