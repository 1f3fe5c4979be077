"""What a program declares with @pulumi/aws, as calls of AWS's API: `python moto_account.py COMMAND ENDPOINT`.

given      prints as JSON what a user has: the ids of a VPC, two subnets and an image; the ARNs of a certificate and of a policy
apply      reads {known, resources: [{type, name, inputs, outputs}]} from standard input, makes or changes each, and prints
           {known, rules}: what stands for the outputs that were made up, by their texts, and the listener's rules
end_group  reads {name} of an auto scaling group, and ends it with its machines
launch     reads {image, type, count, tags}, and launches machines
instances  prints [{id, state, type, tags}]
"""

import json
import sys

import boto3

REGION = "us-west-2"


class Account:
    def __init__(self, endpoint):
        self.client = lambda service: boto3.client(
            service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        self.ec2, self.elb, self.iam = self.client("ec2"), self.client("elbv2"), self.client("iam")

    def security_group(self, it):
        made = self.ec2.create_security_group(GroupName=it["name"], Description=it["description"], VpcId=it["vpcId"])
        # As Pulumi's provider does it: nothing goes out that no rule lets out.
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        self.ec2.revoke_security_group_egress(GroupId=made["GroupId"], IpPermissions=everything)
        return {"id": made["GroupId"]}

    def ingress(self, it):
        self.ec2.authorize_security_group_ingress(GroupId=it["securityGroupId"], IpPermissions=[permission(it)])
        return {}

    def egress(self, it):
        self.ec2.authorize_security_group_egress(GroupId=it["securityGroupId"], IpPermissions=[permission(it)])
        return {}

    def launch_template(self, it):
        data = {
            "ImageId": it["imageId"],
            "InstanceType": it["instanceType"],
            "InstanceInitiatedShutdownBehavior": it["instanceInitiatedShutdownBehavior"],
            "IamInstanceProfile": {"Arn": it["iamInstanceProfile"]["arn"]},
            "SecurityGroupIds": it["vpcSecurityGroupIds"],
            "MetadataOptions": api_names(it["metadataOptions"]),
            "BlockDeviceMappings": [
                {
                    "DeviceName": each["deviceName"],
                    "Ebs": {
                        "VolumeSize": each["ebs"]["volumeSize"],
                        "VolumeType": each["ebs"]["volumeType"],
                        "Encrypted": each["ebs"]["encrypted"] == "true",
                        "DeleteOnTermination": each["ebs"]["deleteOnTermination"] == "true",
                    },
                }
                for each in it["blockDeviceMappings"]
            ],
            "TagSpecifications": [
                {"ResourceType": each["resourceType"], "Tags": tags(each["tags"])} for each in it["tagSpecifications"]
            ],
            "UserData": it["userData"],
        }
        if "instanceMarketOptions" in it:
            data["InstanceMarketOptions"] = api_names(it["instanceMarketOptions"])
        made = self.ec2.create_launch_template(LaunchTemplateName=it["name"], LaunchTemplateData=data)
        return {"id": made["LaunchTemplate"]["LaunchTemplateId"]}

    def role(self, it):
        bounded = {"PermissionsBoundary": it["permissionsBoundary"]} if "permissionsBoundary" in it else {}
        made = self.iam.create_role(RoleName=it["name"], AssumeRolePolicyDocument=it["assumeRolePolicy"], **bounded)
        return {"arn": made["Role"]["Arn"]}

    def role_policy(self, it):
        self.iam.put_role_policy(RoleName=it["role"], PolicyName=it["name"], PolicyDocument=it["policy"])
        return {}

    def role_policy_attachment(self, it):
        self.iam.attach_role_policy(RoleName=it["role"], PolicyArn=it["policyArn"])
        return {}

    def instance_profile(self, it):
        made = self.iam.create_instance_profile(InstanceProfileName=it["name"])
        self.iam.add_role_to_instance_profile(InstanceProfileName=it["name"], RoleName=it["role"])
        return {"arn": made["InstanceProfile"]["Arn"]}

    def load_balancer(self, it):
        made = self.elb.create_load_balancer(
            Name=it["name"],
            Subnets=it["subnets"],
            SecurityGroups=it["securityGroups"],
            Scheme="internal" if it["internal"] else "internet-facing",
            Type=it["loadBalancerType"],
        )["LoadBalancers"][0]
        attributes = {
            "idle_timeout.timeout_seconds": str(it["idleTimeout"]),
            "routing.http.drop_invalid_header_fields.enabled": str(it["dropInvalidHeaderFields"]).lower(),
        }
        self.elb.modify_load_balancer_attributes(
            LoadBalancerArn=made["LoadBalancerArn"], Attributes=[{"Key": k, "Value": v} for k, v in attributes.items()]
        )
        return {"arn": made["LoadBalancerArn"], "dnsName": made["DNSName"]}

    def listener(self, it):
        encryption = {"Certificates": [{"CertificateArn": it["certificateArn"]}], "SslPolicy": it["sslPolicy"]}
        made = self.elb.create_listener(
            LoadBalancerArn=it["loadBalancerArn"],
            Port=it["port"],
            Protocol=it["protocol"],
            **encryption,
            DefaultActions=[action(each) for each in it["defaultActions"]],
        )["Listeners"][0]
        return {"arn": made["ListenerArn"]}

    def listener_rule(self, it):
        rule = {
            "Conditions": [condition(each) for each in it["conditions"]],
            "Actions": [action(each) for each in it["actions"]],
        }
        known = self.elb.describe_rules(ListenerArn=it["listenerArn"])["Rules"]
        same = [each for each in known if each["Priority"] == str(it["priority"])]
        if same:
            self.elb.modify_rule(RuleArn=same[0]["RuleArn"], **rule)
            return {}
        made = self.elb.create_rule(ListenerArn=it["listenerArn"], Priority=it["priority"], **rule)["Rules"][0]
        return {"arn": made["RuleArn"]}

    def target_group(self, it):
        check = it["healthCheck"]
        made = self.elb.create_target_group(
            Name=it["name"],
            Protocol=it["protocol"],
            Port=it["port"],
            VpcId=it["vpcId"],
            TargetType=it["targetType"],
            HealthCheckPath=check["path"],
            HealthCheckIntervalSeconds=check["interval"],
            HealthCheckTimeoutSeconds=check["timeout"],
            HealthyThresholdCount=check["healthyThreshold"],
            UnhealthyThresholdCount=check["unhealthyThreshold"],
            Matcher={"HttpCode": check["matcher"]},
        )["TargetGroups"][0]
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(it["deregistrationDelay"])}
        self.elb.modify_target_group_attributes(TargetGroupArn=made["TargetGroupArn"], Attributes=[delay])
        return {"arn": made["TargetGroupArn"]}

    def group(self, it):
        template = it["launchTemplate"]
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=it["name"],
            MinSize=it["minSize"],
            MaxSize=it["maxSize"],
            LaunchTemplate={"LaunchTemplateId": template["id"], "Version": template["version"]},
            VPCZoneIdentifier=",".join(it["vpcZoneIdentifiers"]),
            HealthCheckType=it["healthCheckType"],
            TargetGroupARNs=it["targetGroupArns"],
            Tags=[
                {
                    "Key": each["key"],
                    "Value": each["value"],
                    "PropagateAtLaunch": each["propagateAtLaunch"],
                    "ResourceId": it["name"],
                    "ResourceType": "auto-scaling-group",
                }
                for each in it["tags"]
            ],
        )
        return {}

    def zone(self, it):
        vpc = {"VPCRegion": REGION, "VPCId": it["vpcs"][0]["vpcId"]}
        made = self.client("route53").create_hosted_zone(
            Name=it["name"], VPC=vpc, CallerReference=it["name"], HostedZoneConfig={"PrivateZone": True}
        )
        return {"zoneId": made["HostedZone"]["Id"].split("/")[-1]}

    def record(self, it):
        records = [{"Value": value} for value in it["records"]]
        change = {
            "Action": "CREATE",
            "ResourceRecordSet": {
                "Name": it["name"],
                "Type": it["type"],
                "TTL": it["ttl"],
                "ResourceRecords": records,
            },
        }
        self.client("route53").change_resource_record_sets(
            HostedZoneId=it["zoneId"], ChangeBatch={"Changes": [change]}
        )
        return {"fqdn": it["name"]}

    def secret(self, it):
        made = self.client("secretsmanager").create_secret(Name=it["name"], Description=it["description"])
        return {"id": made["ARN"], "arn": made["ARN"]}

    def secret_version(self, it):
        self.client("secretsmanager").put_secret_value(SecretId=it["secretId"], SecretString=it["secretString"])
        return {}

    def bucket(self, it, name):
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return {"bucket": name}

    def public_access(self, it):
        block = {key[0].upper() + key[1:]: value for key, value in it.items() if key != "bucket"}
        self.client("s3").put_public_access_block(Bucket=it["bucket"], PublicAccessBlockConfiguration=block)
        return {}

    def bucket_object(self, it):
        self.client("s3").put_object(
            Bucket=it["bucket"], Key=it["key"], Body=it["content"].encode(), ContentType=it["contentType"]
        )
        return {}


KINDS = {
    "aws:ec2/securityGroup:SecurityGroup": Account.security_group,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": Account.ingress,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": Account.egress,
    "aws:ec2/launchTemplate:LaunchTemplate": Account.launch_template,
    "aws:iam/role:Role": Account.role,
    "aws:iam/rolePolicy:RolePolicy": Account.role_policy,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Account.role_policy_attachment,
    "aws:iam/instanceProfile:InstanceProfile": Account.instance_profile,
    "aws:lb/loadBalancer:LoadBalancer": Account.load_balancer,
    "aws:lb/listener:Listener": Account.listener,
    "aws:lb/listenerRule:ListenerRule": Account.listener_rule,
    "aws:lb/targetGroup:TargetGroup": Account.target_group,
    "aws:autoscaling/group:Group": Account.group,
    "aws:route53/zone:Zone": Account.zone,
    "aws:route53/record:Record": Account.record,
    "aws:secretsmanager/secret:Secret": Account.secret,
    "aws:secretsmanager/secretVersion:SecretVersion": Account.secret_version,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Account.public_access,
    "aws:s3/bucketObjectv2:BucketObjectv2": Account.bucket_object,
}
CHANGING = {"aws:lb/listenerRule:ListenerRule", "aws:s3/bucketObjectv2:BucketObjectv2"}


def permission(it):
    ports = {} if it["ipProtocol"] == "-1" else {"FromPort": it["fromPort"], "ToPort": it["toPort"]}
    sources = {
        "cidrIpv4": lambda value: {"IpRanges": [{"CidrIp": value}]},
        "cidrIpv6": lambda value: {"Ipv6Ranges": [{"CidrIpv6": value}]},
        "referencedSecurityGroupId": lambda value: {"UserIdGroupPairs": [{"GroupId": value}]},
    }
    (source,) = [make(it[key]) for key, make in sources.items() if key in it]
    return {"IpProtocol": it["ipProtocol"], **ports, **source}


def condition(it):
    if "httpHeader" in it:
        own = it["httpHeader"]
        return {
            "Field": "http-header",
            "HttpHeaderConfig": {"HttpHeaderName": own["httpHeaderName"], "Values": own["values"]},
        }
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": it["pathPattern"]["values"]}}


def action(it):
    if it["type"] == "fixed-response":
        return {"Type": "fixed-response", "FixedResponseConfig": api_names(it["fixedResponse"])}
    groups = [{"TargetGroupArn": each["arn"], "Weight": each["weight"]} for each in it["forward"]["targetGroups"]]
    stickiness = it["forward"]["stickiness"]
    config = {"Enabled": stickiness["enabled"], "DurationSeconds": stickiness["duration"]}
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": config}}


def api_names(it):
    return {key[0].upper() + key[1:]: value for key, value in it.items()}


def tags(it):
    return [{"Key": key, "Value": value} for key, value in it.items()]


def replaced(value, known):
    if isinstance(value, str):
        for text in sorted(known, key=len, reverse=True):
            value = value.replace(text, known[text])
        return value
    if isinstance(value, list):
        return [replaced(each, known) for each in value]
    if isinstance(value, dict):
        return {key: replaced(each, known) for key, each in value.items()}
    return value


def apply(account, known, resources):
    for each in resources:
        key = f"{each['type']} {each['name']}"
        if key in known and each["type"] not in CHANGING:
            continue
        inputs = replaced(each["inputs"], {text: real for text, real in known.items() if " " not in text})
        try:
            if each["type"] == "aws:s3/bucket:Bucket":
                made = account.bucket(inputs, each["outputs"]["bucket"])
            else:
                made = KINDS[each["type"]](account, inputs)
        except Exception as error:
            sys.exit(f"{key}: {error}")
        known[key] = "there"
        for name, real in made.items():
            if name in each["outputs"]:
                known[each["outputs"][name]] = real
    listeners = [known[each["outputs"]["arn"]] for each in resources if each["type"].endswith(":Listener")]
    rules = account.elb.describe_rules(ListenerArn=listeners[0])["Rules"]
    return {"known": known, "rules": rules}


def instances(account):
    found = account.ec2.describe_instances()["Reservations"]
    return [
        {
            "id": each["InstanceId"],
            "state": each["State"]["Name"],
            "type": each["InstanceType"],
            "tags": {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])},
        }
        for reservation in found
        for each in reservation["Instances"]
    ]


def main(command, endpoint):
    account = Account(endpoint)
    if command == "given":
        subnets = account.ec2.describe_subnets()["Subnets"][:2]
        image = account.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ids = [each["SubnetId"] for each in subnets]
        certificate = account.client("acm").request_certificate(DomainName="models.example.com")["CertificateArn"]
        reading = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::models/*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [reading]})
        policy = account.iam.create_policy(PolicyName="models", PolicyDocument=document)["Policy"]["Arn"]
        network = {"vpcId": subnets[0]["VpcId"], "subnetIds": ids, "ami": image}
        return {"network": network, "certificateArn": certificate, "policyArn": policy}
    if command == "apply":
        given = json.load(sys.stdin)
        return apply(account, given["known"], given["resources"])
    if command == "end_group":
        name = json.load(sys.stdin)["name"]
        account.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    if command == "launch":
        given = json.load(sys.stdin)
        count = {"MinCount": given["count"], "MaxCount": given["count"]}
        own = [{"ResourceType": "instance", "Tags": tags(given["tags"])}]
        account.ec2.run_instances(
            ImageId=given["image"], InstanceType=given["type"], **count, TagSpecifications=own
        )
    return instances(account)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
