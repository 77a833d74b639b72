import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import ServerConfiguration

extension PoolsCommand {
  struct Apply: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "apply", abstract: "Make the server's pools those of a file.",
      discussion: """
        The file has the form of the server's configuration file (`vmpoold check-config` checks it):

          pools:
            build:
              image: hello
              ready: {min: 2, max: 4}
              max_vms: 16

        Shows first what will change, and asks. A pool that another client changes in between is left as it is, and the \
        exit status is 1; so is one that the server's own file declares. Ends with 65 when the file is wrong.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Option(
      name: [.short, .customLong("file")], help: ArgumentHelp("The file, or - for stdin.", valueName: "file"),
      completion: .file(extensions: ["yaml", "yml"]))
    var file: String

    @Flag(help: "Delete the pools that the file does not declare, except those of the server's own file.")
    var prune = false

    @Flag(help: "Show what would change, ask the server whether it takes that, and change nothing.")
    var dryRun = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    func run(_ client: VMPoolClient) throws {
      let wanted = try declarations()
      let plan = PoolPlan(wanted, present: try present(wanted, client), prune: prune)
      if output.json || !plan.steps.isEmpty { try show(PlanDocument(pools: plan.steps)) { _ in plan.text } }
      if plan.steps.contains(where: { $0.action == .refuse }) { throw ExitCode(1) }
      if plan.isEmpty { return }
      if dryRun { return try forEachStep(plan, client, check) }
      try ask()
      try forEachStep(plan, client, carryOut)
    }

    private func declarations() throws -> [PoolDeclaration] {
      let bytes = try contents(of: file)
      do throws(ConfigurationError) {
        return try ConfigurationFile(parsing: bytes, path: file == "-" ? "stdin" : file).pools
      } catch {
        for line in error.lines { StandardError.complain(line) }
        throw ExitCode(65)
      }
    }

    /// The server's pools that the plan depends on.
    private func present(_ wanted: [PoolDeclaration], _ client: VMPoolClient) throws -> [PoolPlan.Present] {
      try client.pools().filter { pool in prune || wanted.contains { $0.name == pool.name } }.compactMap { pool in
        do {
          return try client.taggedPool(pool.name)
        } catch APIError.problem(let problem) where problem.status == 404 {
          // Another client deleted the pool since it was listed.
          return nil
        }
      }
    }

    private func ask() throws {
      if yes { return }
      guard isTerminal else { throw ValidationError("There is no terminal to ask on; give --yes or --dry-run.") }
      guard confirms("Change the pools?") else {
        StandardError.complain("nothing was changed")
        throw ExitCode(1)
      }
    }

    /// Acts on each step in turn, reports failures by the pool's name and goes on. Throws the first failure's exit status.
    private func forEachStep(
      _ plan: PoolPlan, _ client: VMPoolClient, _ action: (PoolPlan.Step, VMPoolClient) throws(APIError) -> Void
    ) throws {
      let steps = Dictionary(uniqueKeysWithValues: plan.steps.map { ($0.name, $0) })
      let failure = try forEach(plan.steps.map(\.name), client) { name in
        guard let step = steps[name] else { return }
        do {
          try action(step, client)
        } catch APIError.problem(let problem) where problem.type == "/problems/precondition-failed" {
          throw Failure(
            "The pool \(name) was changed by another client meanwhile, and is left as it is; apply again.", status: 1)
        } catch APIError.problem(let problem) {
          throw Advice.refusal(problem, ofPool: name)
        }
      }
      if let failure { throw failure }
    }

    /// Asks the server whether it takes what the step declares.
    private func check(_ step: PoolPlan.Step, _ client: VMPoolClient) throws(APIError) {
      guard let settings = step.settings, step.action != .refuse else { return }
      try client.checkPool(step.name, declaration: settings.document)
    }

    private func carryOut(_ step: PoolPlan.Step, _ client: VMPoolClient) throws(APIError) {
      switch step.action {
      case .keep, .refuse: break
      case .create, .change:
        guard let settings = step.settings else { return }
        Advice.report(try client.putPool(step.name, declaration: settings.document, if: step.condition).warnings)
      case .delete: if let rest = try client.deletePool(step.name, if: step.condition) { reportLeases(of: rest) }
      }
    }
  }

  private struct PlanDocument: Encodable { var pools: [PoolPlan.Step] }
}
