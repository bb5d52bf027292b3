import AloftModel
import CLinux
import Execution
import Glibc

/// A volume as `qemu-img` reads it, all of its layers as one.
public struct CopyOrigin: Sendable {
  /// How it is opened: the options for a source, and its name.
  public var arguments: [String]
  /// Of an encrypted volume.
  public var key: VolumeKey?
  public var sizeBytes: Int
  /// How much there may be to copy.
  public var usedBytes: Int
  public var epoch: Int

  public init(arguments: [String], key: VolumeKey? = nil, sizeBytes: Int, usedBytes: Int, epoch: Int) {
    self.arguments = arguments
    self.key = key
    self.sizeBytes = sizeBytes
    self.usedBytes = usedBytes
    self.epoch = epoch
  }
}

/// A program that is to end when somebody wants it to.
final class ToolHandle: Sendable {
  private struct State {
    var process: pid_t?
    var isStopped = false
  }

  private let state = Lock(State())

  var isStopped: Bool { state.withLock { $0.isStopped } }

  func began(_ process: pid_t) {
    state.withLock { state in
      state.process = process
      if state.isStopped { kill(process, SIGKILL) }
    }
  }

  /// It was not waited for yet, so nothing else has its number.
  func ended() { state.withLock { $0.process = nil } }

  func stop() {
    state.withLock { state in
      state.isStopped = true
      if let process = state.process { kill(process, SIGKILL) }
    }
  }
}

extension Tool {
  /// Runs `qemu-img convert` from one pool to another.
  static func copy(
    _ arguments: [String], secret: VolumeKey?, handle: ToolHandle, progress: @escaping @Sendable (Double) -> Void
  ) async throws(AgentFailure) {
    // `-U`: what lies below has others' guests above it.
    let command = ["convert", "-U", "-p"]
    do throws(AgentFailure) {
      try await run(
        "qemu-img", command + (secret == nil ? [] : secretArguments) + arguments,
        secret: secret.map { Array($0.text.utf8) }, handle: handle, progress: progress)
    } catch {
      if handle.isStopped { throw AgentFailure(.changedMeanwhile, "the copy is not wanted any more") }
      throw error
    }
  }
}
