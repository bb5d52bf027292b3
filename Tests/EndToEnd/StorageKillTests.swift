import Foundation
import JSON
import TestSupport
import Testing

extension StorageEndToEnd {
  /// kill -9 of each part during whatever is done to volumes: no content is lost, every operation ends, nothing is left over.
  @Suite(.timeLimit(.minutes(240)))
  struct StorageKillTests {
    /// ALOFT_KILL_RUNS asks for more runs, ALOFT_KILL_SEED for others.
    private static let runs = number("ALOFT_KILL_RUNS") ?? 1
    private static let firstSeed = number("ALOFT_KILL_SEED") ?? 1

    private static func number(_ name: String) -> Int? {
      ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    @Test(
      "whatever is killed while volumes are worked on, what they and their snapshots hold is there, no more")
    func campaign() async throws {
      let cloud = try await Cloud.start(Cloud.Shape(pools: ["fast"]))
      try await cloud.aloft("pool", "create", "fast", "--kind", "dir")
      try await eventually("the node has told of its pool", within: .seconds(30)) {
        try await cloud.get("/v1/storage-pools/fast")["places"]?.arrayValue?.count == 1
      }
      try await StorageStory.uploadBlank(to: cloud)
      for seed in Self.firstSeed..<Self.firstSeed + Self.runs {
        var story = StorageStory(cloud, seed: seed)
        do { try await story.run() } catch {
          Issue.record("seed \(seed): \(error)\n\(story.told.joined(separator: "\n"))")
        }
      }
      for folder in ["agent/layers", "agent/volumes", "agent/vms", "agent/exports", "fast/layers", "fast/volumes"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)") == [], "\(folder)")
      }

      try await eventually("nothing of backups is left in the store", within: .seconds(90)) {
        !FileManager.default.fileExists(atPath: cloud.folder + "/images/backups")
      }

      // A new agent looks through its pool at once. What it cannot know of shows that it has looked.
      let planted = cloud.folder + "/agent/layers/planted"
      try Data().write(to: URL(fileURLWithPath: planted))
      try await restartAgent(of: cloud)
      try await eventually("what was planted is found", within: .seconds(60)) {
        try await cloud.differences().contains("layers/planted")
      }
      try FileManager.default.removeItem(atPath: planted)
      try await restartAgent(of: cloud)
      try? await eventually("nothing is left", within: .seconds(60)) { try await cloud.differences().isEmpty }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    private func restartAgent(of cloud: Cloud) async throws {
      try await cloud.killAgent()
      try await cloud.startAgent()
    }
  }
}
