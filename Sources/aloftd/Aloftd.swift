import ArgumentParser

/// The control plane's program.
@main
struct Aloftd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aloftd", abstract: "The control plane of an Aloft cloud.",
    discussion: """
      Every option can also be set by an environment variable, ALOFT_ and the option's name in upper case with underscores \
      (--database-url is ALOFT_DATABASE_URL), or by a key in the file that --config names, spelled like the option without \
      dashes in front (database-url: …). The command line wins over the environment, and that over the file.
      """,
    version: "0.1.0", subcommands: [Serve.self, Migrate.self, Check.self, PKI.self, Token.self],
    defaultSubcommand: Serve.self)
}
