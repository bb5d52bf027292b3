import ArgumentParser

/// The control plane's program.
@main
struct Aloftd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aloftd", abstract: "The control plane of an Aloft cloud.",
    discussion: """
      Settings can also be given in the environment and in the YAML file that --config names, by the names that stand with \
      each option. The command line wins over the environment, and that over the file. All commands may share one file.
      """,
    version: "0.1.0",
    subcommands: [Serve.self, Migrate.self, Check.self, Authority.self, Token.self, Bootstrap.self, SealingKeys.self],
    defaultSubcommand: Serve.self)
}
