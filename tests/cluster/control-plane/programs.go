package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

func main() {
	switch os.Args[1] {
	case "1":
		etcdmain.Main(os.Args)
	case "2":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "3":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "4":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "5":
		os.Exit(cli.Run(kubelet.NewKubeletCommand(genericapiserver.SetupSignalContext())))
	case "6":
		util.BehaviorOnFatal(func(string, int) {})
		cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand())
	}
}
