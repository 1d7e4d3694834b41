// Reads a JSON list of requests from stdin, writes the list of verdicts to stdout. The evaluator
// also knows which resources and condition keys AWS offers for each action, and refuses others.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const verdict = async request => {
  const { policies, resourcePolicy, principal, action, resource, account, context } = request
  const simulation = {
    request: {
      principal, action,
      resource: { resource, accountId: account },
      contextVariables: context,
    },
    identityPolicies: policies.map((policy, index) => ({ name: `policy${index}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(resourcePolicy ? { resourcePolicy } : {}),
  }
  const result = await runSimulation(simulation, {})
  if (result.resultType === 'error') return { error: JSON.stringify(result.errors) }
  const one = result.result ?? result.results?.[0] ?? {}
  return {
    verdict: result.overallResult,
    ignored: one.ignoredContextKeys ?? [],
    by: (one.analysis?.identityAnalysis?.allowStatements ?? []).map(s => s.explain.identifier),
  }
}

const requests = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(await Promise.all(requests.map(verdict))))
