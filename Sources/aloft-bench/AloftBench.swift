import ArgumentParser

/// What `scripts/bench` needs a program of our own for. Everything it prints is `NAME VALUE` lines for that script.
@main
struct AloftBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aloft-bench", abstract: "Servers and load for scripts/bench.",
    subcommands: [StaticServer.self, GuardServer.self, Fleet.self, Ports.self])
}
