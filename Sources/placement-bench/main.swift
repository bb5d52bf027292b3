// Prints how long decisions take, per size of the fleet: `swift run -c release placement-bench`.
import FoundationEssentials
import Glibc
import Placement

/// SplitMix64: the same fleets on every run.
struct Generator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

func fleet(_ count: Int, _ random: inout Generator, images: [UUID]) -> Inventory {
  var inventory = Inventory()
  let pools = (0..<4).map { _ in UUID() }
  for index in 0..<count {
    var labels = ["hostname": "n\(index)", "rack": "r\(index / 40)"]
    if index % 20 == 1 { labels["gpu"] = "true" }
    inventory.upsert(
      InventoryNode(
        id: UUID(), state: index % 50 == 0 ? .cordoned : .ready, zone: "z\(index % 3)", pool: pools[index % 4],
        labels: labels, accelerator: index % 10 == 0 ? .tcg : .kvm,
        capacity: Capacity(vcpus: [32, 64, 128][index % 3], memoryMiB: [131_072, 262_144][index % 2], diskGiB: 4_000),
        claimed: Capacity(
          vcpus: .random(in: 0...100, using: &random), memoryMiB: .random(in: 0...120_000, using: &random),
          diskGiB: .random(in: 0...3_000, using: &random)),
        overcommit: .init(cpu: 4), cachedImages: Set(images.prefix(index % 3)),
        strategy: index % 4 == 0 ? .pack : .spread))
  }
  return inventory
}

struct Times {
  var p50: Int
  var p99: Int

  init(_ nanoseconds: [Int]) {
    let sorted = nanoseconds.sorted()
    p50 = sorted[sorted.count / 2]
    p99 = sorted[sorted.count * 99 / 100]
  }
}

func nanoseconds(_ clock: clockid_t) -> Int {
  var time = timespec()
  clock_gettime(clock, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Wall time is what a caller waits; on a machine that does other things too, CPU time is what the decision costs.
func measure(_ inventory: Inventory, rounds: Int, _ request: (Int) -> PlacementRequest) -> (wall: Times, cpu: Times) {
  var wall: [Int] = []
  var cpu: [Int] = []
  for round in 0..<rounds {
    let wanted = request(round)
    let start = (nanoseconds(CLOCK_MONOTONIC), nanoseconds(CLOCK_THREAD_CPUTIME_ID))
    blackHole = place(inventory, wanted, seed: UInt64(round))
    cpu.append(nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start.1)
    wall.append(nanoseconds(CLOCK_MONOTONIC) - start.0)
  }
  return (Times(wall), Times(cpu))
}

/// Keeps the optimizer from dropping decisions that nobody reads.
nonisolated(unsafe) var blackHole: Decision?

func column(_ text: String, _ width: Int) -> String {
  String(repeating: " ", count: max(1, width - text.count)) + text
}

func microseconds(_ nanoseconds: Int) -> String { "\(nanoseconds / 1000).\(nanoseconds / 100 % 10)" }

func run() {
  var random = Generator(state: 7)
  let images = (0..<2).map { _ in UUID() }
  print("decide, µs           nodes   wall p50   wall p99    CPU p50    CPU p99")
  for count in [100, 1_000, 10_000, 100_000] {
    let inventory = fleet(count, &random, images: images)
    let rounds = count <= 10_000 ? 5_000 : 1_000
    let cases: [(String, (Int) -> PlacementRequest)] = [
      ("plain          ", { _ in PlacementRequest(need: Capacity(vcpus: 2, memoryMiB: 4_096, diskGiB: 40)) }),
      (
        "all constraints",
        { round in
          PlacementRequest(
            need: Capacity(vcpus: 2, memoryMiB: 4_096, diskGiB: 40), architecture: "x86_64", accelerator: .kvm,
            nodeSelector: ["gpu": "true"], zone: "z\(round % 3)", image: images[0])
        }
      ),
      ("refused        ", { _ in PlacementRequest(need: Capacity(vcpus: 2, memoryMiB: 4_000_000, diskGiB: 40)) }),
    ]
    for (name, request) in cases {
      let (wall, cpu) = measure(inventory, rounds: rounds, request)
      let values = [String(count)] + [wall.p50, wall.p99, cpu.p50, cpu.p99].map(microseconds)
      print(name + values.map { column($0, 11) }.joined())
    }
  }
}

run()
