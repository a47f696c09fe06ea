job "obs-alertmanager" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "alertmanager" {
    count = 3

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "1m5s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 9093
      }
      port "cluster" {
        static = 9094
      }
    }

    volume "data" {
      type   = "host"
      source = "obs-alertmanager"
    }

    service {
      name     = "alertmanager"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    service {
      name     = "alertmanager-cluster"
      provider = "consul"
      port     = "cluster"
      tags     = []

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }
    }

    task "alertmanager" {
      kill_timeout = "20s"

      template {
        destination = "local/alertmanager.yml"
        data        = "{{ key \"obsctl/obs/config/alertmanager.yml\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      # Alertmanager reads this file at every notification, so it follows alert-sink wherever that runs, and nobody who
      # poses as alert-sink but cannot prove that it has the secret (see alert-sink's job). The secret by
      # which alert-sink knows it stands as a password: Go sends that as a header, and keeps it out of logs.
      template {
        destination = "secrets/alert-sink.url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = <<-EOT
        {{- with nomadVar "nomad/jobs/obs-alertmanager" }}{{ $secret := .delivery_key }}
        {{- range service "alert-sink" }}{{ $address := printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}
        {{- $allocation := .ID | regexReplaceAll "^_nomad-task-(.{36})-.*$" "$1" }}
        {{- $proof := printf "%s %s %s" $allocation $address $secret | sha256Hex }}
        {{- if eq (index .ServiceMeta "obsctl_proof") $proof -}}
        http://alertmanager:{{ $secret }}@{{ $address }}/webhook{{ break }}
        {{- end }}{{ end }}{{ end }}
        EOT
      }

      # Read at the start alone. It waits for its own entry in Consul, so that of two that start together at least one
      # knows the other; gossip tells the rest. The key is never there: it is what there is to wait with.
      template {
        destination = "local/peers.args"
        change_mode = "noop"
        data        = <<-EOT
        {{- $registered := false }}
        {{- range service "alertmanager-cluster" }}{{ if eq (index .ServiceMeta "obsctl_stack") "obs" }}
        {{- $peer := printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}
        {{- if eq $peer (env "NOMAD_ADDR_cluster") }}{{ $registered = true }}{{ else }}
        --cluster.peer={{ $peer }}
        {{- end }}{{ end }}{{ end }}
        {{- if not $registered }}{{ key "obsctl/obs/wait/alertmanager-cluster" }}{{ end }}
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/alertmanager"
      }

      driver = "docker"

      config {
        image        = "prom/alertmanager:v0.34.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/alertmanager.yml",
          "--storage.path=/alertmanager",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--enable-feature=receiver-name-in-metrics",
          "--cluster.listen-address=${NOMAD_ADDR_cluster}",
          "--cluster.advertise-address=${NOMAD_ADDR_cluster}",
          "--cluster.label=obs",
          "--cluster.peer-timeout=5s",
          "--dispatch.start-delay=1m",
          "@${NOMAD_TASK_DIR}/peers.args",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
