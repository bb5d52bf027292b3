import ArgumentParser
import JSON

enum BackupNoun: ProjectNoun {
  static let collection = "backups"
  static let word = "backup"
  static let oneWord = "a backup"
  static var presentation: Presentation { .backup }
}

/// `aloft backup`
struct BackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "What volumes held, kept apart from them.",
    subcommands: [
      List.self, ShowCommand<BackupNoun>.self, Create.self, Restore.self, Verify.self, Schedule.self,
      DeleteCommand<BackupNoun>.self,
      RenameCommand<BackupNoun>.self, LabelCommand<BackupNoun>.self,
    ])

  /// `aloft backup list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List backups.")

    @Option(help: "Keep those of this volume, which may be gone.")
    var volume: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = volume.map { [("volume", $0)] } ?? []
      let items = try await session.api.items(
        APIPath.path("backups"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .backup)
    }
  }

  /// What all commands take that take time.
  struct ChangeOptions: ParsableArguments {
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption

    func changes(_ session: Session) -> WaitedChanges {
      WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), deletes: false,
        collection: "backups", word: BackupNoun.word, presentation: .backup)
    }
  }

  /// `aloft backup create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Back up a volume.",
      discussion: "The guest may run. Behind the first backup only what was written since is read and sent.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The volume.")
    var volume: String

    @Flag(help: "Read the whole volume.")
    var full = false

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name), "volume": .string(volume)]
      if full { body["full"] = .bool(true) }
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      let call = APICall(
        .post, APIPath.path("backups"), query: session.query(options.project, dryRun: options.dryRun),
        body: .object(body), key: session.key(key))
      try await options.changes(session).run([name]) { _ in call }
    }
  }

  /// `aloft backup restore`
  struct Restore: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Restore a backup as a new volume, or over one that there is.",
      discussion: """
        Over a volume: what was written since is gone, unless a snapshot has it. A virtual machine that has the volume must be \
        stopped. Nothing of it is replaced before all of the backup has come and was compared. A backup of an encrypted volume \
        becomes an encrypted one with the same key, in a pool of kind dir, or goes over one that has this key.
        """)

    @Argument(help: BackupNoun.nameHelp)
    var name: String

    @Option(name: .customLong("as"), help: "The name of the new volume.")
    var new: String?

    @Option(help: "The volume whose content it is to be.")
    var over: String?

    @Option(help: ArgumentHelp("How large the new volume is [as large as the one that was].", valueName: "size"))
    var size: DiskSize?

    @Option(help: "The new volume's storage pool [local].")
    var pool: String?

    @Option(help: "The virtual machine that the new volume is for: it is made where that is.")
    var vm: String?

    @Flag(help: "What is written to the new volume is encrypted on its node. Of an encrypted volume it always is.")
    var encrypted = false

    @OptionGroup var key: KeyOption
    @OptionGroup var options: VolumeCommand.ChangeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if (new == nil) == (over == nil) {
        throw ValidationError("say --as for a new volume, or --over for one that there is")
      }
      if over != nil, size != nil || pool != nil || vm != nil || encrypted {
        throw ValidationError(
          "--size, --pool, --vm and --encrypted are of a new volume; the one of --over stays what it is")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      if let over { return try await options.post("restore", over, ["backup": .string(name)], key, session) }
      let volume = new ?? name
      var body: JSONObject = ["name": .string(volume), "backup": .string(name)]
      body.say("size_gib", size?.gibibytes)
      body.say("pool", pool)
      body.say("vm", vm)
      if encrypted { body["encrypted"] = true }
      let call = APICall(
        .post, APIPath.path("volumes"), query: session.query(options.project, dryRun: options.dryRun),
        body: .object(body), key: session.key(key))
      try await options.changes(session).run([volume]) { _ in call }
    }
  }

  /// `aloft backup verify`
  struct Verify: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read all of backups and compare checksums.",
      discussion: "One of which something is missing or is not what it was is damaged from then on, and not restored.")

    @Argument(help: "The backups, by id or name.")
    var names: [String]

    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(options.project, dryRun: options.dryRun)
      try await options.changes(session).run(names) { name in
        APICall(.post, APIPath.path("backups", name, "verify"), query: query)
      }
    }
  }
}

extension BackupCommand {
  /// `aloft backup schedule`
  struct Schedule: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have a volume backed up by itself, or show when it is.",
      discussion: "Of the backups that come of it as many are kept as --keep says; those of `aloft backup create` stay."
    )

    @Argument(help: VolumeNoun.nameHelp)
    var volume: String

    @Option(help: ArgumentHelp("Hours from one to the next.", valueName: "hours"))
    var every: Int?

    @Option(help: ArgumentHelp("How many that can be restored are kept.", valueName: "count"))
    var keep: Int?

    @Flag(help: "Not any more; what it has made stays.")
    var off = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if (every == nil) != (keep == nil) { throw ValidationError("say both, --every and --keep") }
      if off, every != nil { throw ValidationError("say --off, or --every and --keep") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      let path = APIPath.path("volumes", volume, "backup-schedule")
      let query = session.query(project, dryRun: dryRun)
      if off {
        return try await session.delete("backup schedule", [volume], query: query, dryRun: dryRun.dryRun) { _ in path }
      }
      var call = APICall(.get, path, query: session.query(project))
      if let every, let keep {
        let body: JSONObject = ["interval_hours": .integer(Int64(every)), "keep": .integer(Int64(keep))]
        call = APICall(.put, path, query: query, body: .object(body))
      }
      try await session.printer.details(try await session.api.send(call).json, as: .backupSchedule)
    }
  }
}

extension Presentation {
  static let backupSchedule = Presentation(
    columns: [
      .member("EVERY (HOURS)", "interval_hours"), .member("KEEP", "keep"), .member("NEXT", "next_at"),
      .member("PROBLEM", "problem"),
    ], nameMember: "volume_id")

  static let backup = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .member("VOLUME", "volume_name"), .member("KIND", "kind"),
      .bytes("READ", "read_bytes"), .bytes("STORED", "stored_bytes"), .member("ENCRYPTED", "encrypted"),
      .age("AGE", "created_at"), .member("REASON", "reason"),
    ], nameMember: "name")
}
