import ArgumentParser
import Dispatch
import Glibc
import Logging
import NodeAgent

/// The agent of one hypervisor host.
@main
struct AloftAgent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aloft-agent",
    abstract: "Makes this host a node of Aloft: runs the virtual machines that the control plane assigns to it.",
    discussion: """
      Every option can also be set in the environment and in the YAML file that --config names, by the names that stand \
      with it below. The command line wins over the environment, and that over the file. Several URLs are separated by \
      commas in the environment and are a list in the file.

      On its first start the agent needs a join token; prefer ALOFT_AGENT_JOIN_TOKEN or the file, because other users of \
      this host can read command lines. Stopping the agent leaves the virtual machines running.
      """,
    version: agentVersion)

  @OptionGroup var options: AgentOptions

  mutating func run() async throws {
    let settings = try AgentSettings(options: options)
    let level = settings.logLevel
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    let logger = Logger(label: "aloft-agent")
    let work = Task { try await AgentService(settings: settings, version: agentVersion, logger: logger).run() }
    // Guests are QEMU processes of libvirt's: they do not notice that the agent goes.
    let signals = [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number)
      source.setEventHandler {
        logger.info("stopping; the machines run on")
        work.cancel()
      }
      source.activate()
      return source
    }
    defer { for source in signals { source.cancel() } }
    do { try await work.value } catch is CancellationError {} catch {
      logger.critical("the agent cannot go on", metadata: ["failure": "\(error)"])
      throw ExitCode.failure
    }
  }
}

/// The version of this program.
let agentVersion = "0.1.0"
