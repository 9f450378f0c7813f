// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

// Need is a set of member groups. Who reads a record says which of them it will look at, and the Decoder skips the rest.
type Need uint32

// The member groups.
const (
	NeedFile        Need = 1 << iota // file, with its destination
	NeedProcess                      // the acting process, without what the following stand for
	NeedArgs                         // argv0, args and args_truncated
	NeedEnvs                         // envs and envs_truncated
	NeedExecutable                   // executable and interpreter
	NeedCredentials                  // credentials
	NeedParent                       // process.parent
	NeedAncestors                    // process.ancestors
	NeedContainer                    // container
	NeedNetwork                      // network, bind and connect
	NeedExit                         // exit
	NeedFacts                        // Facts: the picket.* attributes
	NeedOther                        // every other member

	NeedAll = 1<<iota - 1
)
