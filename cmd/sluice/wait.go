package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/source"
)

// A plan costs a control plane a build: it is asked for soon, and then less and less often.
const planEvery, planSeldom = 100 * time.Millisecond, 2 * time.Second

func newWaitCommand() *cobra.Command {
	var server serverFlags
	var paths []string
	var fleet string
	var timeout time.Duration
	var atLeast uint32
	cmd := &cobra.Command{
		Use:   "wait [-f PATH...]",
		Short: "Wait until all proxies of a fleet have accepted the newest configuration",
		Long: `wait ends with 0 when every connected proxy of the fleet has accepted the newest
configuration, and there are at least as many as asked for. It ends with 1 when the
time is over, and names who has not, and why. A control plane that is not there yet
is waited for, too.

The newest is what the control plane has read by then. Right after a change of its
files that may be what was there before: with -f, wait begins with waiting until it
serves these files. If it has read them, and does not serve a document as it stands
there, wait says why, and ends with 1.`,
		Example: example(
			"sluice wait --fleet edge --timeout 30s",
			"cp shop.yaml /etc/sluice/ && sluice wait -f /etc/sluice --fleet edge",
			"sluice wait --fleet edge --at-least 3 --timeout 2m && ./smoke-test.sh"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usagef("--timeout: got %v, want more than 0", timeout)
			}
			var files []source.File
			if len(paths) > 0 {
				err := checkPaths(paths)
				if err != nil {
					return err
				}
				if files, err = readDefinitions(paths, cmd.InOrStdin()); err != nil {
					return err
				}
			}
			client, conn, err := server.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var request *adminv1.PlanRequest
			if len(files) > 0 {
				if request, err = planRequest(paths, files); err != nil {
					return err
				}
			}
			definitions := adminv1.NewDefinitionServiceClient(conn)
			var response *adminv1.WaitResponse
			for served := false; !served; {
				if request != nil {
					if err := untilServed(ctx, definitions, request, cmd.ErrOrStderr()); err != nil {
						return server.waitError(timeout, err)
					}
				}
				if response, err = client.Wait(ctx, &adminv1.WaitRequest{Fleet: fleet, AtLeast: atLeast}, grpc.WaitForReady(true)); err != nil {
					return server.waitError(timeout, err)
				}
				if served = request == nil; !served { // what they refused they have not: that is held back by now
					_, lines, read, err := compareFiles(ctx, definitions, request)
					if err != nil {
						return server.waitError(timeout, err)
					}
					served = read && len(lines) == 0
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "fleet %s: %d of %d proxies have the newest configuration\n",
				fleet, len(response.GetProxies()), len(response.GetProxies()))
			if len(files) == 0 {
				tellTroubled(ctx, client, cmd.ErrOrStderr())
			}
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "`path` of the files that are to be served, a folder, or - for standard input; may be given several times")
	server.add(cmd)
	cmd.Flags().StringVar(&fleet, "fleet", "default", "the `fleet`")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait")
	cmd.Flags().Uint32Var(&atLeast, "at-least", 1, "how many proxies must be connected at least")
	return cmd
}

// untilServed returns when files are what is served. What of them is not served though the control plane has read them is
// written to w, and is errReported.
func untilServed(ctx context.Context, client adminv1.DefinitionServiceClient, request *adminv1.PlanRequest, w io.Writer) error {
	for pause := planEvery; ; pause = min(2*pause, planSeldom) {
		answer, lines, read, err := compareFiles(ctx, client, request)
		switch {
		case err != nil && grpcstatus.Code(err) != codes.Unavailable: // which is before the first build, too
			return err
		case err == nil && read:
			for _, line := range lines {
				fmt.Fprintln(w, words(line, false)) // a proxy's words may stand in it
			}
			if len(lines) > 0 {
				return errReported
			}
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("the control plane does not serve these files: %s", planSummary(answer))
			}
			return err
		}
	}
}

// compareFiles has files compared with what is served. read: the control plane has read them, has made up its mind, and serves them but for
// what lines tell.
func compareFiles(ctx context.Context, client adminv1.DefinitionServiceClient, request *adminv1.PlanRequest) (answer *adminv1.PlanResponse, lines []string, read bool, err error) {
	answer, err = client.Plan(ctx, request, grpc.MaxCallRecvMsgSize(maxAnswer), grpc.WaitForReady(true))
	if err != nil || len(answer.GetDocuments()) > 0 || len(answer.GetFleets()) > 0 {
		return answer, nil, false, err
	}
	for _, p := range answer.GetProblems() {
		failed := p.GetProblem().GetSeverity() == string(definition.SeverityError)
		switch code := p.GetProblem().GetCode(); {
		case code == definition.CodeRefused && !failed, failed && !p.GetKnown(): // in doubt, or news
			return answer, nil, false, nil
		case failed, code == definition.CodeUndone:
			lines = append(lines, describeProblem(p.GetProblem()))
		}
	}
	return answer, lines, true, nil
}

// tellTroubled says that something is not served as it stands in the files: whoever waits for a push wants to know.
func tellTroubled(ctx context.Context, client adminv1.AdminServiceClient, w io.Writer) {
	status, err := client.Status(ctx, &adminv1.StatusRequest{})
	if err != nil {
		return // what was asked for was answered
	}
	n := 0
	for _, p := range status.GetProblems() {
		if p.GetSeverity() == string(definition.SeverityError) || p.GetCode() == definition.CodeUndone {
			n++
		}
	}
	if n > 0 {
		fmt.Fprintf(w, "sluice wait: but the control plane has %d problems with documents, and does not serve them as they stand: see 'sluice status'\n", n)
	}
}

// waitError words why a wait came to nothing.
func (s *serverFlags) waitError(timeout time.Duration, err error) error {
	st, ok := grpcstatus.FromError(err)
	switch {
	case !ok && err == errReported:
		return err
	case !ok:
		return fmt.Errorf("not within %v: %w", timeout, err)
	case st.Code() == codes.DeadlineExceeded && unreached(st.Message()):
		err = grpcstatus.Error(codes.Unavailable, st.Message())
	}
	return fmt.Errorf("not within %v: %w", timeout, s.serverError(err))
}
