import ArgumentParser
import JSON

extension UserCommand {
  /// `aloft user set-password`
  struct SetPassword: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Set a person's password.",
      discussion: "Asks for it twice, or reads a file. It has 12 characters at least. All sessions of the user end.")

    @Argument(help: "The user, by id or name.")
    var name: String

    @Option(
      help: ArgumentHelp("A file with the password; - is standard input.", valueName: "file"), completion: .file())
    var passwordFile: String?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let password = try await password(session.surroundings)
      let call = APICall(
        .put, APIPath.path("users", name, "password"), query: Session.query(dryRun),
        body: ["password": .string(password)])
      _ = try await session.api.send(call)
      await session.surroundings.say("\(dryRun.dryRun ? "would set" : "set") the password of \(name)")
    }

    private func password(_ surroundings: Surroundings) async throws(CommandFailure) -> String {
      if let passwordFile { return try await PasswordFile.read(passwordFile) }
      guard let first = await surroundings.ask("New password: ", true),
        let second = await surroundings.ask("Once more: ", true)
      else {
        throw CommandFailure(
          .usage, "there is nobody to ask for the password", hint: "Name its file by --password-file.")
      }
      guard first == second else { throw CommandFailure(.usage, "the two passwords differ") }
      return first
    }
  }
}
